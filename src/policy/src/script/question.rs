//! Whether people at the machine want it to boot.

use super::Writer;
use crate::Question;

impl Writer<'_> {
    /// Goes on with what follows, or to the next boot device. Without an answer in time, a machine
    /// that needs a key does not boot, and one that a key keeps from booting does.
    pub(super) fn ask_people(&mut self, question: &Question) {
        let text = match (&question.text, question.opt_in) {
            (Some(text), _) => text,
            (None, true) => "Press ENTER for network boot...",
            (None, false) => "Network boot follows. Press ENTER for the next boot device...",
        };
        match question.key {
            Some(key) => self.script.prompt_key(key, text, question.timeout),
            None => self.script.prompt(text, question.timeout),
        };
        let boots = self.script.label("network-boot");
        if question.opt_in {
            self.script.and_goto(&boots).or_continue();
            self.go_local();
        } else {
            self.script.or_goto(&boots);
            self.go_local();
        }
        self.script.place(&boots);
    }
}
