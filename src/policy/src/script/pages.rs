//! Menus of the configuration.

use bootstorm_config::MenuColours;
use bootstorm_proto::ipxe::{self, Label, MenuItem, Setting, Url};
use bootstorm_telemetry::event::Reason;

use super::{ASKED, SHOWN, Writer, carry, wrapped};
use crate::BootPlan;
use crate::menus::{ITEM, MENU, PASSWORD};
use crate::plan::{Does, Item, Page, Pages};

impl Writer<'_> {
    /// All menus that lead to one another, in one script: no server is asked on the way between them.
    pub(super) fn pages(&mut self, pages: &Pages) {
        let labels: Vec<Label> = pages
            .pages
            .iter()
            .map(|page| self.script.label(&format!("menu-{}", page.name)))
            .collect();
        let is_coloured = pages.pages.iter().any(|page| page.colours.is_some());
        for (number, (page, label)) in pages.pages.iter().zip(&labels).enumerate() {
            self.script.place(label);
            if is_coloured {
                self.colours(page.colours.unwrap_or_default());
            }
            // Whoever leaves a menu that another has led to is back at the first.
            let back = labels.first().filter(|_| number > 0);
            let back = back.unwrap_or(&self.local).clone();
            let notice = pages.notice.as_ref().filter(|_| number == 0);
            let items = self.page(page, notice, &back);
            for (item, own) in page.items.iter().zip(items) {
                let Some(own) = own else { continue };
                self.script.place(&own);
                self.item(pages, number, item, &labels, label);
            }
        }
    }

    /// The pairs of colours that iPXE draws menus in: a menu gets its own even behind another's.
    fn colours(&mut self, colours: MenuColours) {
        for (number, pair) in [
            (1, colours.text),
            (2, colours.selected),
            (3, colours.heading),
        ] {
            let (foreground, background) = (pair.foreground as u8, pair.background as u8);
            self.script
                .colour_pair(number, foreground, background)
                .or_continue();
        }
    }

    /// Shows a menu; the labels are those of its lines that can be chosen.
    fn page(&mut self, page: &Page, notice: Option<&Reason>, back: &Label) -> Vec<Option<Label>> {
        if let Some(url) = page.picture.as_ref().and_then(|path| self.url(path).ok()) {
            self.script.picture(&url).or_continue();
        }
        let mut lines = Vec::new();
        if let Some(Reason { code, text }) = notice {
            let notice = wrapped(&format!("{code}: {text}"));
            lines.extend(notice.into_iter().map(MenuItem::Gap));
            lines.push(MenuItem::Gap(String::new()));
        }
        let mut labels = Vec::new();
        for item in &page.items {
            let chosen = !matches!(item.does, Does::Nothing);
            let label = chosen.then(|| {
                self.script
                    .label(&format!("item-{}-{}", page.name, item.number + 1))
            });
            lines.push(match &label {
                Some(label) => MenuItem::Choice {
                    label: label.clone(),
                    text: item.text.clone(),
                    key: item.key,
                },
                None => MenuItem::Gap(item.text.clone()),
            });
            labels.push(label);
        }
        let default = page.default.and_then(|at| labels.get(at)?.as_ref());
        if default.is_none() {
            // Without it, the first line would be taken in the end.
            lines.push(MenuItem::Choice {
                label: self.local.clone(),
                text: "Next boot device".to_owned(),
                key: None,
            });
        }
        let menu = ipxe::Menu {
            title: page.title.clone().unwrap_or_else(|| self.title()),
            items: lines,
        };
        let answer = ipxe::Choice {
            variable: "chosen",
            default: Some(default.unwrap_or(&self.local)),
            timeout: (!page.timeout.is_zero()).then_some(page.timeout),
            cancelled: back,
        };
        self.script.menu(&menu, &answer);
        labels
    }

    fn item(&mut self, all: &Pages, page: usize, item: &Item, labels: &[Label], here: &Label) {
        match &item.does {
            Does::Nothing => {}
            Does::Boot(plan) => self.choice(plan, here),
            Does::Show(number) => {
                let page = labels.get(*number).unwrap_or(here);
                self.script.goto(page);
            }
            Does::Unlock(menu) => {
                self.script.login().or_goto(here);
                self.ask_for(&[(MENU, menu)], true, here);
            }
            Does::Ask => {
                let item = format!("{page}.{}", item.number);
                let root = all.pages.first().map_or("", |root| root.name.as_str());
                self.ask_for(&[(MENU, root), (ITEM, &item)], all.unlocked, here);
            }
            Does::Reboot => {
                self.script.reboot();
            }
            Does::PowerOff => {
                self.script.poweroff().or_goto(here);
            }
            Does::Shell => {
                self.script.shell().or_continue();
                self.script.goto(here);
            }
        }
    }

    fn choice(&mut self, plan: &BootPlan, here: &Label) {
        match plan {
            BootPlan::Entry(choice) => self.entry(choice),
            BootPlan::Menu(menu) => self.menu(menu),
            BootPlan::Refuse(reason) => {
                self.script
                    .echo(&format!("[{}] {}", reason.code, reason.text))
                    .prompt("Any key leads back to the menu.", SHOWN)
                    .or_continue()
                    .goto(here);
            }
            BootPlan::Local
            | BootPlan::Pages(_)
            | BootPlan::Script(_)
            | BootPlan::Wait(_)
            | BootPlan::Refer(_)
            | BootPlan::Ask(..) => {
                self.script.goto(&self.local);
            }
        }
    }

    /// Asks this server for what lies behind a line, with the password that the person has given if
    /// it takes one; back at the menu when it does not answer.
    fn ask_for(&mut self, extra: &[(&str, &str)], locked: bool, here: &Label) {
        let Ok(url) = Url::new(&self.urls.boot()) else {
            return;
        };
        let url = carry::known(&url, self.machine);
        let mut all = vec![(ASKED, "1")];
        all.extend_from_slice(extra);
        if locked {
            let password = (PASSWORD, Setting::new("password"));
            self.script.ask_with_secret(&url, &all, password, here);
        } else {
            self.script.ask_again(&url, &all, here);
        }
    }
}
