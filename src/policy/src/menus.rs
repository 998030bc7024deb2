//! Menus of the configuration, and what they are locked with.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::sync::Arc;
use std::time::Instant;

use bootstorm_config::{BootChoice, ItemAction, MenuConfig, MenuItem, MenuLock};
use bootstorm_telemetry::event::Reason;

use crate::matcher::{Matcher, Subject};
use crate::plan::{Does, Item, Page, Pages};
use crate::{BootPlan, Facts, Identity};
use guesses::{Guesser, Guesses};

mod guesses;

/// What a form says of a menu: which locked one it opens, with what, and which line was chosen there.
pub(crate) const MENU: &str = "menu";
pub(crate) const ITEM: &str = "item";
pub(crate) const PASSWORD: &str = "password";

/// The menus of the configuration, and who has sent wrong passwords to locked ones.
#[derive(Clone, Debug, Default)]
pub struct Menus {
    menus: Arc<BTreeMap<String, Menu>>,
    guesses: Arc<Guesses>,
}

#[derive(Debug)]
struct Menu {
    config: MenuConfig,
    /// Which machines see which of its lines.
    when: Vec<When>,
}

#[derive(Debug)]
enum When {
    Always,
    Fits(Matcher),
    /// Its expression cannot be read.
    Never,
}

/// Lines that a machine does not see, by the name of the menu and their number.
type Hidden<'a> = HashSet<(&'a str, usize)>;

/// What a line boots that names something of the catalog or a template; `None` leaves it out.
pub(crate) type Resolve<'a> =
    dyn Fn(&BootChoice, Option<&str>) -> Option<Result<BootPlan, Reason>> + 'a;

impl Menus {
    pub(crate) fn new(menus: &[MenuConfig]) -> Self {
        let named = menus
            .iter()
            .map(|menu| (menu.name.clone(), Menu::new(menu)));
        Self {
            menus: Arc::new(named.collect()),
            guesses: Arc::default(),
        }
    }

    /// The same menus for those who have tried others' passwords: nobody gets more tries by a change
    /// of the configuration.
    #[must_use]
    pub(crate) fn after(&self, before: &Self) -> Self {
        Self {
            guesses: Arc::clone(&before.guesses),
            ..self.clone()
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.menus.contains_key(name)
    }

    /// What a machine gets that is to see the menu `start`: that menu with those that it leads to,
    /// a locked one that the machine's form opens, or what the form has chosen there. `known` are
    /// its facts as expressions see them.
    pub(crate) fn plan(
        &self,
        start: &str,
        facts: &Facts,
        identity: &Identity,
        known: &dyn Fn() -> serde_json::Value,
        resolve: &Resolve<'_>,
    ) -> BootPlan {
        let hidden = self.hidden(known);
        let wanted = facts.other(MENU).filter(|name| *name != start);
        let wanted = wanted.filter(|name| self.reachable(start, true, &hidden).contains(name));
        let (root, notice) = match wanted {
            None => (start, None),
            Some(name) => match self.opens(name, facts, identity) {
                Ok(()) => (name, None),
                Err(reason) => (start, Some(reason)),
            },
        };
        let unlocked = root != start;
        if notice.is_none()
            && let Some(plan) = self.chosen(root, facts, &hidden, resolve)
        {
            return plan;
        }
        let names = self.reachable(root, false, &hidden);
        let pages = names.iter().filter_map(|name| {
            let menu = &self.menus.get(*name)?.config;
            Some(self.page(menu, &names, &hidden, resolve))
        });
        BootPlan::Pages(Pages {
            pages: pages.collect(),
            notice,
            unlocked,
        })
    }

    /// What was chosen of the pages below `root` that this server has to be asked for.
    fn chosen(
        &self,
        root: &str,
        facts: &Facts,
        hidden: &Hidden<'_>,
        resolve: &Resolve<'_>,
    ) -> Option<BootPlan> {
        let (page, item) = facts.other(ITEM)?.split_once('.')?;
        let names = self.reachable(root, false, hidden);
        let menu = &self
            .menus
            .get(*names.get(page.parse::<usize>().ok()?)?)?
            .config;
        let number = item.parse::<usize>().ok()?;
        let (_, item) = seen(menu, hidden).find(|(seen, _)| *seen == number)?;
        let ItemAction::Boot(choice) = &item.does else {
            return None;
        };
        match resolve(choice, item.arguments.as_deref())? {
            Ok(plan) => Some(plan),
            Err(reason) => Some(BootPlan::Refuse(reason)),
        }
    }

    /// The menus that `start` leads to, itself first; through locked ones only where `locked` is set.
    fn reachable<'a>(&'a self, start: &'a str, locked: bool, hidden: &Hidden<'_>) -> Vec<&'a str> {
        let mut names = vec![start];
        let mut number = 0;
        while let Some(menu) = names.get(number).and_then(|name| self.menus.get(*name)) {
            for (_, item) in seen(&menu.config, hidden) {
                if let ItemAction::Boot(BootChoice::NamedMenu(name)) = &item.does
                    && let Some(Menu { config: next, .. }) = self.menus.get(name)
                    && (locked || next.lock.is_none())
                    && !names.contains(&next.name.as_str())
                {
                    names.push(&next.name);
                }
            }
            number += 1;
        }
        names
    }

    /// What of all menus a machine does not see.
    fn hidden(&self, known: &dyn Fn() -> serde_json::Value) -> Hidden<'_> {
        let mut subject = None;
        let mut hidden = Hidden::new();
        for menu in self.menus.values() {
            for (number, when) in menu.when.iter().enumerate() {
                let is_seen = match when {
                    When::Always => true,
                    When::Never => false,
                    When::Fits(when) => {
                        let subject = subject.get_or_insert_with(|| Subject::new(known()));
                        let name = &menu.config.name;
                        let whose = format!("item {number} of the menu {name}");
                        when.holds(subject, &whose).unwrap_or(false)
                    }
                };
                if !is_seen {
                    hidden.insert((menu.config.name.as_str(), number));
                }
            }
        }
        hidden
    }

    fn page(
        &self,
        menu: &MenuConfig,
        names: &[&str],
        hidden: &Hidden<'_>,
        resolve: &Resolve<'_>,
    ) -> Page {
        let mut default = None;
        let mut items = Vec::new();
        for (number, item) in seen(menu, hidden) {
            let Some(does) = self.does(item, names, resolve) else {
                continue;
            };
            if item.name.is_some() && item.name == menu.default {
                default = Some(items.len());
            }
            items.push(Item {
                number,
                text: item.text.clone(),
                key: item.key,
                does,
            });
        }
        Page {
            name: menu.name.clone(),
            title: menu.title.clone(),
            timeout: menu.timeout,
            default,
            picture: menu.picture.clone(),
            colours: menu.colours,
            items,
        }
    }

    fn does(&self, item: &MenuItem, names: &[&str], resolve: &Resolve<'_>) -> Option<Does> {
        let choice = match &item.does {
            ItemAction::Gap => return Some(Does::Nothing),
            ItemAction::Reboot => return Some(Does::Reboot),
            ItemAction::PowerOff => return Some(Does::PowerOff),
            ItemAction::Shell => return Some(Does::Shell),
            ItemAction::Boot(BootChoice::NamedMenu(name)) => {
                let here = names.iter().position(|known| known == name);
                return match here {
                    Some(page) => Some(Does::Show(page)),
                    None => self.has(name).then(|| Does::Unlock(name.clone())),
                };
            }
            ItemAction::Boot(BootChoice::Script(_)) => return Some(Does::Ask),
            ItemAction::Boot(choice) => choice,
        };
        Some(match resolve(choice, item.arguments.as_deref())? {
            Ok(plan) => Does::Boot(Box::new(plan)),
            Err(reason) => Does::Boot(Box::new(BootPlan::Refuse(reason))),
        })
    }

    /// Whether a password opens a menu. One without a lock is nothing that a form could open.
    fn opens(&self, name: &str, facts: &Facts, identity: &Identity) -> Result<(), Reason> {
        let lock = self
            .menus
            .get(name)
            .and_then(|menu| menu.config.lock.as_ref());
        let wanted = match lock {
            Some(MenuLock::Pin(pin)) => Some(pin.clone()),
            Some(MenuLock::PasswordFile(path)) => first_line(path),
            None => None,
        };
        let guesser = Guesser::new(identity, facts);
        let given = facts.other(PASSWORD).unwrap_or_default();
        let now = Instant::now();
        self.guesses.check(guesser, wanted.as_deref(), given, now)
    }
}

impl Menu {
    fn new(config: &MenuConfig) -> Self {
        let items = config.items.iter();
        let when = items.map(|item| match item.when.as_deref().map(Matcher::compile) {
            None => When::Always,
            Some(Ok(when)) => When::Fits(when),
            Some(Err(_)) => When::Never,
        });
        Self {
            config: config.clone(),
            when: when.collect(),
        }
    }
}

/// The lines of a menu that a machine sees, with their numbers.
fn seen<'a>(
    menu: &'a MenuConfig,
    hidden: &Hidden<'_>,
) -> impl Iterator<Item = (usize, &'a MenuItem)> {
    let lines = menu.items.iter().enumerate();
    lines.filter(move |(number, _)| !hidden.contains(&(menu.name.as_str(), *number)))
}

fn first_line(path: &std::path::Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

#[cfg(test)]
mod tests;
