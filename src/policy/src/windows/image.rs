//! Which images of Windows PE a machine's boot manager is told of.

use std::sync::Arc;

use bootstorm_catalog::bcd::{Firmware, Menu};
use bootstorm_catalog::entry::{BIOS_BOOT_MANAGER, BIOS_BOOT_PROGRAM};
use bootstorm_catalog::{Entry, EntryKind, File, Signing, Snapshot, WimLoader};
use bootstorm_config::Signing as Preferred;
use bootstorm_proto::types::Family;
use bootstorm_telemetry::event::Reason;

use crate::{BootPlan, Choice, Does};

/// The images of Windows PE that a machine boots, or that a person at it may choose.
#[derive(Clone, Debug)]
pub struct BootImages<'a> {
    /// There is at least one; none stands twice.
    pub(super) images: Vec<&'a Choice>,
    pub(super) default: usize,
    pub(super) menu: Menu,
}

impl<'a> BootImages<'a> {
    /// The images of a plan. A menu that would lead to the local disk waits for a person, since a
    /// boot manager has no such line.
    ///
    /// # Errors
    /// Why it boots none: `windows.no-image`, or what keeps the machine from booting at all.
    pub fn of(plan: &'a BootPlan) -> Result<Self, Reason> {
        let mut found = Self {
            images: Vec::new(),
            default: 0,
            menu: Menu::Hidden,
        };
        found.take(plan)?;
        if found.images.is_empty() {
            return Err(Reason {
                code: "windows.no-image",
                text: format!(
                    "this machine boots {}, which is no Windows PE",
                    plan.name().escape_debug()
                )
                .into(),
            });
        }
        Ok(found)
    }

    /// The image alone of which the machine has loaded something: somebody has chosen it.
    #[must_use]
    pub fn chosen_by<'p>(self, mut loaded: impl Iterator<Item = &'p str>) -> Self {
        let of = |path: &str| {
            let is_its = |choice: &&&Choice| {
                let below = wim(choice).and_then(|wim| path.strip_prefix(wim));
                below.is_some_and(|below| below.starts_with('/'))
            };
            self.images.iter().find(is_its).copied()
        };
        match loaded.find_map(of) {
            Some(image) => Self {
                images: vec![image],
                default: 0,
                menu: Menu::Hidden,
            },
            None => self,
        }
    }

    /// The boot manager itself, which other boot programs of Windows load.
    pub(crate) fn boot_manager(
        &self,
        catalog: &Snapshot,
        firmware: Firmware,
        preferred: Preferred,
    ) -> Result<Arc<File>, Reason> {
        if firmware == Firmware::Bios {
            return self.find(catalog, &[BIOS_BOOT_MANAGER.to_owned()]);
        }
        let own = match self.default().map(|choice| &choice.entry.kind) {
            Some(EntryKind::Wim {
                loader: WimLoader::BootManager(signing),
                ..
            }) => *signing,
            _ => None,
        };
        let names = signings(own, preferred).map(|signing| signing.boot_manager().to_owned());
        self.find(catalog, &names.collect::<Vec<_>>())
    }

    /// A file of the image, such as `boot.sdi`. Fonts come with the boot manager of 2023 anew.
    pub(crate) fn file(
        &self,
        catalog: &Snapshot,
        name: &str,
        preferred: Preferred,
    ) -> Result<Arc<File>, Reason> {
        let newer = name
            .strip_prefix("Fonts/")
            .map(|font| format!("Fonts_EX/{font}"));
        let newer = newer.filter(|_| preferred == Preferred::Ca2023);
        let names: Vec<_> = newer.into_iter().chain([name.to_owned()]).collect();
        self.find(catalog, &names)
    }

    /// The image itself.
    pub(crate) fn image(&self, catalog: &Snapshot) -> Result<Arc<File>, Reason> {
        let path = self.default().and_then(wim).unwrap_or_default();
        catalog.file(path).map_err(|_| not_found(path))
    }

    /// The first file of these names that is there. Where the image has none, that of any other
    /// which the machine may boot will do, and then the usual place.
    fn find(&self, catalog: &Snapshot, names: &[String]) -> Result<Arc<File>, Reason> {
        let images = self
            .default()
            .into_iter()
            .chain(self.images.iter().copied());
        let mut folders = images.filter_map(wim).chain(["boot"]);
        let below = |folder: &str| {
            let mut names = names.iter();
            names.find_map(|name| catalog.file(&format!("{folder}/{name}")).ok())
        };
        folders
            .find_map(below)
            .ok_or_else(|| not_found(&names.join(" or ")))
    }

    fn default(&self) -> Option<&'a Choice> {
        self.images.get(self.default).copied()
    }

    fn take(&mut self, plan: &'a BootPlan) -> Result<(), Reason> {
        match plan {
            BootPlan::Entry(choice) => self.add(choice),
            BootPlan::Menu(menu) => {
                menu.choices.iter().for_each(|choice| self.add(choice));
                let default = menu.default.as_deref();
                self.timed(default, menu.timeout);
            }
            BootPlan::Pages(pages) => {
                for item in pages.pages.iter().flat_map(|page| &page.items) {
                    if let Does::Boot(plan) = &item.does
                        && let BootPlan::Entry(choice) = &**plan
                    {
                        self.add(choice);
                    }
                }
                let first = pages.pages.first();
                let default = first.and_then(|page| page.items.get(page.default?));
                let default = default.and_then(|item| match &item.does {
                    Does::Boot(plan) => Some(plan.name()),
                    _ => None,
                });
                self.timed(default, first.map(|page| page.timeout).unwrap_or_default());
            }
            BootPlan::Ask(question, plan) => {
                self.take(plan)?;
                self.menu = match self.menu {
                    _ if question.opt_in => Menu::Waits,
                    Menu::Hidden => Menu::Timed(question.timeout),
                    menu => menu,
                };
            }
            BootPlan::Wait(wait) => return Err(wait.reason.clone()),
            BootPlan::Refuse(reason) => return Err(reason.clone()),
            BootPlan::Local | BootPlan::Script(_) | BootPlan::Refer(_) => {}
        }
        Ok(())
    }

    fn add(&mut self, choice: &'a Choice) {
        let known = |other: &&Choice| other.entry.id == choice.entry.id;
        if wim(choice).is_some() && !self.images.iter().any(known) {
            self.images.push(choice);
        }
    }

    fn timed(&mut self, default: Option<&str>, timeout: std::time::Duration) {
        let mut images = self.images.iter();
        let found = default.and_then(|id| images.position(|choice| choice.entry.id == id));
        self.menu = match found {
            Some(at) if !timeout.is_zero() => {
                self.default = at;
                Menu::Timed(timeout)
            }
            _ => Menu::Waits,
        };
    }
}

fn not_found(what: &str) -> Reason {
    Reason {
        code: "tftp.not-found",
        text: format!("the image has no {}", what.escape_debug()).into(),
    }
}

/// The path of a choice's image, if it is one.
pub(super) fn wim(choice: &Choice) -> Option<&str> {
    match &choice.entry.kind {
        EntryKind::Wim { wim, .. } => Some(wim),
        EntryKind::Linux { .. } | EntryKind::Efi { .. } | EntryKind::Iso { .. } => None,
    }
}

/// The boot program out of an entry's image that firmware of a family loads; `None` where it is
/// loaded otherwise, or the image has none.
pub(crate) fn program(
    catalog: &Snapshot,
    entry: &Entry,
    family: Family,
    preferred: Preferred,
) -> Option<Arc<File>> {
    let EntryKind::Wim {
        wim,
        loader: WimLoader::BootManager(signing),
        ..
    } = &entry.kind
    else {
        return None;
    };
    if !entry.boots(family) {
        return None;
    }
    let find = |name: &str| catalog.file(&format!("{wim}/{name}")).ok();
    if family == Family::Bios {
        return find(BIOS_BOOT_PROGRAM);
    }
    signings(*signing, preferred).find_map(|signing| find(signing.boot_manager()))
}

/// What to look for, best first.
fn signings(own: Option<Signing>, preferred: Preferred) -> impl Iterator<Item = Signing> + Clone {
    let order = match preferred {
        Preferred::Pca2011 => [Signing::Pca2011, Signing::Ca2023],
        Preferred::Ca2023 => [Signing::Ca2023, Signing::Pca2011],
    };
    order
        .into_iter()
        .filter(move |signing| own.is_none_or(|own| own == *signing))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bootstorm_catalog::LoadOptions;

    use super::*;
    use crate::{Menu as BootMenu, Question};

    fn choice(id: &str) -> Choice {
        let kind = EntryKind::Wim {
            wim: format!("{id}.wim"),
            index: 1,
            inject: Vec::new(),
            wimboot: String::new(),
            args: String::new(),
            loader: WimLoader::Wimboot,
            options: LoadOptions::default(),
        };
        Choice {
            entry: Entry::new(id, id, kind),
            memdisk: None,
            peers: None,
            manager: None,
        }
    }

    fn menu(default: Option<&str>, seconds: u64) -> BootPlan {
        let image = "tools.iso".to_owned();
        let iso = Choice {
            entry: Entry::new("iso", "iso", EntryKind::Iso { image }),
            ..choice("iso")
        };
        BootPlan::Menu(BootMenu {
            choices: vec![iso, choice("a"), choice("b")],
            default: default.map(str::to_owned),
            timeout: Duration::from_secs(seconds),
            notice: None,
        })
    }

    fn told(plan: &BootPlan) -> (Vec<&str>, usize, Menu) {
        let images = BootImages::of(plan).unwrap();
        let ids = images.images.iter().map(|choice| choice.entry.id.as_str());
        (ids.collect(), images.default, images.menu)
    }

    #[test]
    fn a_menu_keeps_its_images_default_and_time_out() {
        let ten = Menu::Timed(Duration::from_secs(10));
        assert_eq!(told(&menu(Some("b"), 10)), (vec!["a", "b"], 1, ten));
        // The local disk, which a boot manager cannot name, or no time-out: somebody has to choose.
        for plan in [menu(None, 10), menu(Some("iso"), 10), menu(Some("b"), 0)] {
            assert_eq!(told(&plan), (vec!["a", "b"], 0, Menu::Waits));
        }
        let entry = BootPlan::Entry(Box::new(choice("a")));
        assert_eq!(told(&entry), (vec!["a"], 0, Menu::Hidden));
    }

    #[test]
    fn wds_07_who_has_to_be_asked_first_is_asked_by_the_boot_manager() {
        let asked = |opt_in| {
            let question = Question {
                opt_in,
                key: None,
                text: None,
                timeout: Duration::from_secs(3),
            };
            let plan = BootPlan::Ask(question, Box::new(BootPlan::Entry(Box::new(choice("a")))));
            told(&plan).2
        };
        assert_eq!(asked(true), Menu::Waits);
        assert_eq!(asked(false), Menu::Timed(Duration::from_secs(3)));
    }

    #[test]
    fn an_image_that_somebody_has_chosen_boots_alone() {
        let plan = menu(None, 10);
        let chosen = |loaded: &[&str]| {
            let images = BootImages::of(&plan).unwrap();
            let images = images.chosen_by(loaded.iter().copied());
            let ids = images.images.iter().map(|choice| choice.entry.id.clone());
            (ids.collect::<Vec<_>>().concat(), images.menu)
        };
        let alone = ("b".to_owned(), Menu::Hidden);
        assert_eq!(chosen(&["Boot/BCD", "b.wim/bootmgfw.efi"]), alone);
        let both = ("ab".to_owned(), Menu::Waits);
        assert_eq!(chosen(&["b.wim2/x", "b.wim", "bootmgfw.efi"]), both);
    }
}
