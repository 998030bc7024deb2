//! What iPXE makes of a script, after its own rules (src/image/script.c, src/core/exec.c and
//! expand_settings in src/core/settings.c): a line that ends with a backslash goes on in the next,
//! white space separates words, a word that begins with `#` begins a comment, `||`, `&&` and `;` end
//! a command, and then settings are expanded in each word, the innermost first, until none is left.

use std::collections::HashMap;

/// The commands of a script, each with its words as they are passed to it. Every command runs.
pub(super) fn run(script: &str) -> Vec<Vec<String>> {
    let mut settings = HashMap::new();
    let mut runs = Vec::new();
    for line in lines(script) {
        for command in split(&line) {
            let words: Vec<String> = command
                .iter()
                .map(|word| expanded(word, &settings))
                .collect();
            if let [set, name, value] = &words[..]
                && set == "set"
                && let Some(name) = name.strip_suffix(":hex")
            {
                let byte = u8::from_str_radix(value, 16).unwrap();
                settings.insert(name.to_owned(), char::from(byte).to_string());
            }
            runs.push(words);
        }
    }
    runs
}

/// The names of the commands and what separates them, without those that set up escapes.
pub(super) fn commands(script: &str) -> Vec<String> {
    let all = lines(script).into_iter();
    let own = all.filter(|line| !line.contains(":hex "));
    own.flat_map(|line| split(&line))
        .filter_map(|command| command.into_iter().next())
        .collect()
}

fn lines(script: &str) -> Vec<String> {
    let joined = script.replace("\\\n", "");
    joined.split('\n').map(str::to_owned).collect()
}

fn split(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let white = [' ', '\t', '\r', '\u{b}', '\u{c}'];
    for word in line.split(white).filter(|word| !word.is_empty()) {
        if word.starts_with('#') {
            break;
        }
        if matches!(word, "||" | "&&" | ";") {
            commands.push(vec![word.to_owned()]);
            commands.push(Vec::new());
        } else if let Some(command) = commands.last_mut() {
            command.push(word.to_owned());
        }
    }
    commands.retain(|command| !command.is_empty());
    commands
}

fn expanded(word: &str, settings: &HashMap<String, String>) -> String {
    let mut word = word.to_owned();
    while let Some(end) = word
        .match_indices('}')
        .map(|(at, _)| at)
        .find(|at| word[..*at].contains("${"))
    {
        let start = word[..end].rfind("${").unwrap();
        let name = word[start + 2..end].trim_end_matches(":string");
        let value = settings.get(name).cloned().unwrap_or_default();
        word.replace_range(start..=end, &value);
    }
    word
}
