//! The rules for words that a machine can check: length of sentences, and words that are banned.
//!
//! Readers may have English as a second language. A sentence that a user sees, in a string or a help
//! text, has at most 18 words; a sentence of a comment or a document has at most 25.

use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Maximum number of words of a sentence that a user sees.
const ON_A_SCREEN: usize = 18;

/// Maximum number of words of a sentence in a comment or a document.
const IN_A_DOCUMENT: usize = 25;

/// Strings with fewer words of some length are names, formats, drawings and the like.
const SHORTEST_TEXT: usize = 4;

/// Phrases that a reader stumbles over, in lower case, and what to write instead.
const BANNED: [(&str, &str); 18] = [
    ("see the module", "say it here, or nothing"),
    ("see its text", "say it here, or nothing"),
    ("of which", "two sentences"),
    ("so that", "`to`, or `therefore`"),
    ("whoever", "name the actor"),
    ("one can ", "`you can`, or name the actor"),
    ("one may ", "`you may`, or name the actor"),
    ("one sees ", "`you see`"),
    ("one that ", "repeat the noun"),
    ("that one ", "repeat the noun"),
    (" anew", "`again`"),
    ("come in with", "`authenticate with`"),
    ("let in ", "`add`, or `accept`"),
    ("leave office", "`step down`"),
    ("leaves office", "`steps down`"),
    (" deed", "`action`"),
    (" tray", "`fault panel`"),
    ("unheard", "`before it is looked at`"),
];

/// Directories whose strings and comments are checked; their tests are not.
const SOURCES: [&str; 6] =
    ["api/src", "client/src", "core/src", "native-node/src", "storage/src", "web-viz/src"];

/// Directories whose doc comments are help texts.
const HELP: [&str; 3] =
    ["native-node/src/cli", "native-node/src/config", "native-node/src/demo/mod.rs"];

/// A text in a file, with the line where it begins, and the most words of a sentence.
struct Text {
    line: usize,
    content: String,
    most: usize,
}

/// Checks one file.
pub(crate) fn faults(name: &str, text: &str) -> Vec<String> {
    texts(name, text)
        .iter()
        .flat_map(|text| {
            faults_of(&text.content, text.most)
                .into_iter()
                .map(|fault| format!("{name}:{}: {fault}", text.line))
        })
        .collect()
}

/// The texts of a file that somebody reads.
fn texts(name: &str, text: &str) -> Vec<Text> {
    let is = |extension: &str| Path::new(name).extension().is_some_and(|it| it == extension);
    if is("md") {
        return paragraphs(text.lines().enumerate(), IN_A_DOCUMENT);
    }
    let in_sources = SOURCES.iter().any(|source| name.starts_with(source));
    let is_test = name.contains("/tests") || name.ends_with("testing.rs");
    if !is("rs") || !in_sources || is_test {
        return Vec::new();
    }
    let Ok(tokens) = text.parse() else { return Vec::new() };
    let mut found = Vec::new();
    let tests = strings(tokens, &mut found);
    let most =
        if HELP.iter().any(|help| name.starts_with(help)) { ON_A_SCREEN } else { IN_A_DOCUMENT };
    let comments = text.lines().enumerate().map(|(at, line)| {
        let in_tests = tests.iter().any(|(first, last)| (first..=last).contains(&&(at + 1)));
        let line = line.trim_start();
        let comment = ["///", "//!", "//"].iter().find_map(|mark| line.strip_prefix(mark));
        (at, comment.filter(|_| !in_tests).map_or("", |it| it.strip_prefix(' ').unwrap_or(it)))
    });
    found.extend(paragraphs(comments, most));
    found
}

/// Collects the strings of code, and returns the lines of its test modules: the first and the last.
fn strings(tokens: TokenStream, found: &mut Vec<Text>) -> Vec<(usize, usize)> {
    let mut tests = Vec::new();
    let mut skip_next_body = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let start = group.stream().to_string();
                if start == "cfg (test)" || start == "cfg(test)" {
                    skip_next_body = true;
                } else if skip_next_body && group.delimiter() == Delimiter::Brace {
                    skip_next_body = false;
                    tests.push((group.span().start().line, group.span().end().line));
                } else if !start.starts_with("doc =") {
                    tests.extend(strings(group.stream(), found));
                }
            }
            TokenTree::Literal(literal) => {
                let line = literal.span().start().line;
                let text = content(&literal.to_string());
                if words(&text) >= SHORTEST_TEXT {
                    // Indented lines are examples.
                    let lines = text.lines().filter(|line| !line.starts_with("  "));
                    let content = lines.collect::<Vec<_>>().join("\n\n");
                    found.push(Text { line, content, most: ON_A_SCREEN });
                }
            }
            // `#[cfg(test)] mod tests;` has no body here.
            TokenTree::Punct(punct) if punct.as_char() == ';' => skip_next_body = false,
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
    tests
}

/// The text of a string literal; empty for other literals.
fn content(literal: &str) -> String {
    let Some((prefix, rest)) = literal.split_once('"') else { return String::new() };
    let inner = rest.trim_end_matches('#');
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    if prefix.contains('r') {
        return inner.to_owned();
    }
    let mut text = String::new();
    let mut lines = inner.split("\\\n");
    text.push_str(lines.next().unwrap_or_default());
    for line in lines {
        text.push_str(line.trim_start());
    }
    text.replace("\\n", "\n").replace("\\\"", "\"")
}

/// Joins lines to paragraphs. Code, headings and the rows of tables are none.
fn paragraphs<'a>(lines: impl Iterator<Item = (usize, &'a str)>, most: usize) -> Vec<Text> {
    let mut paragraphs: Vec<Text> = Vec::new();
    let (mut open, mut in_code) = (false, false);
    for (at, line) in lines {
        let line = line.trim_end();
        let trimmed = line.trim_start();
        if trimmed.starts_with("```") {
            in_code = !in_code;
            open = false;
            continue;
        }
        let is_prose = !(in_code || trimmed.is_empty() || trimmed.starts_with(['#', '|']));
        let is_item = ["- ", "* "].iter().any(|mark| trimmed.starts_with(mark))
            || trimmed.split_once(". ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
        if is_prose && open && !is_item {
            let last = paragraphs.last_mut().expect("one is open");
            last.content.push(' ');
            last.content.push_str(trimmed);
        } else if is_prose {
            paragraphs.push(Text { line: at + 1, content: trimmed.to_owned(), most });
        }
        open = is_prose;
    }
    paragraphs
}

/// The faults of one text.
fn faults_of(text: &str, most: usize) -> Vec<String> {
    let text = plain(text);
    let low = text.to_lowercase();
    let banned = BANNED.iter().filter(|(phrase, _)| low.contains(phrase));
    let mut faults: Vec<String> = banned
        .map(|(phrase, instead)| format!("`{}` is not plain; write {instead}", phrase.trim()))
        .collect();
    for sentence in sentences(&text) {
        let words = sentence.split_whitespace().filter(|it| it.contains(char::is_alphanumeric));
        let count = words.count();
        if count > most {
            let start: String = sentence.chars().take(60).collect();
            faults.push(format!("{count} words in a sentence, at most {most}: {start} …"));
        }
    }
    faults
}

/// Replaces code, placeholders and targets of links by one word each.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['`', '{', ']']) {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        let (skip, until) = match from.as_bytes() {
            [b'`', ..] => (1, '`'),
            [b'{', ..] => (1, '}'),
            [b']', b'(', ..] => (2, ')'),
            _ => {
                rest = &from[1..];
                continue;
            }
        };
        if until != ')' {
            plain.push('X');
        }
        let Some(end) = from[skip..].find(until) else { return plain };
        rest = &from[skip + end + 1..];
    }
    plain + rest
}

/// Number of words of at least three letters. The path of a drawing has none.
fn words(text: &str) -> usize {
    let letters = |word: &&str| word.chars().filter(|c| c.is_alphabetic()).count() >= 3;
    text.split(|c: char| !c.is_alphabetic()).filter(letters).count()
}

/// Splits at the ends of sentences and at empty lines.
fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut begin = 0;
    let bytes = text.as_bytes();
    for at in 0..bytes.len() {
        let rest = text.get(at + 1..).unwrap_or_default();
        let rest = rest.trim_start_matches([')', '"', '*', '\'']);
        let ends = matches!(bytes[at], b'.' | b'!' | b'?') && rest.starts_with([' ', '\n']);
        if ends || (bytes[at] == b'\n' && rest.starts_with('\n')) {
            sentences.push(&text[begin..=at]);
            begin = at + 1;
        }
    }
    sentences.push(&text[begin..]);
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(words: usize) -> String {
        format!("{} end.", vec!["word"; words - 1].join(" "))
    }

    /// Guards the two limits, in strings, help texts, comments and documents.
    #[test]
    fn a_sentence_that_is_too_long_is_found() {
        for (name, most, quote) in [
            ("docs/A.md", IN_A_DOCUMENT, ""),
            ("core/src/a.rs", IN_A_DOCUMENT, "/// "),
            ("native-node/src/cli/a.rs", ON_A_SCREEN, "/// "),
            ("core/src/a.rs", ON_A_SCREEN, "const A: &str = \"QUOTED\";"),
        ] {
            let text = |words| {
                if quote.contains("QUOTED") {
                    quote.replace("QUOTED", &long(words))
                } else {
                    format!("{quote}{}\n", long(words))
                }
            };
            assert_eq!(faults(name, &text(most)), Vec::<String>::new(), "{name}");
            let found = faults(name, &format!("\n{}", text(most + 1)));
            assert_eq!(found.len(), 1, "{name}: {found:?}");
            assert!(found[0].starts_with(&format!("{name}:2: {} words", most + 1)), "{found:?}");
        }
    }

    /// Guards what is one sentence over several lines, and what is none.
    #[test]
    fn sentences_are_found_across_lines() {
        let half = ["word"; 13].join(" ");
        for (text, is_fault) in [
            (format!("{half}\n{half}.\n"), true),
            (format!("{half}.\n{half}.\n"), false),
            (format!("{half}\n\n{half}.\n"), false),
            (format!("- {half}\n- {half}.\n"), false),
            (format!("| {half} | {half} |\n"), false),
            (format!("```\n{half} {half}\n```\n"), false),
            (format!("`{half}` {half}.\n"), false),
            (format!("[{half}](a b c d e f g h i j k l m n o).\n"), false),
        ] {
            assert_eq!(!faults("docs/A.md", &text).is_empty(), is_fault, "{text}");
        }
    }

    /// Guards that tests may say what they like, and other literals and files are no texts.
    #[test]
    fn tests_are_not_read() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests {\n    // Whoever.\n    const A: &str = \"one may do so that it is\";\n}\n";
        assert_eq!(faults("core/src/a.rs", code), Vec::<String>::new());
        let elsewhere = "#[cfg(test)]\nmod tests;\nfn a() { let _ = \"write this down so that nothing ends\"; }\n";
        assert_eq!(faults("core/src/a.rs", elsewhere).len(), 1, "the next body is no test");
        assert_eq!(faults("core/src/tests.rs", "//! Whoever.\n"), Vec::<String>::new());
        assert_eq!(faults("core/src/a.rs", "//! Whoever.\n").len(), 1);
        assert_eq!(faults("core/src/a.rs", "const A: u32 = 17;\n"), Vec::<String>::new());
        let drawing = format!("const A: &str = \"{}\";", "M1 2 ".repeat(20));
        assert_eq!(faults("core/src/a.rs", &drawing), Vec::<String>::new());
    }

    /// Guards strings that continue on the next line.
    #[test]
    fn a_string_is_read_as_the_program_reads_it() {
        assert_eq!(content("\"a \\\n     b\""), "a b");
        assert_eq!(content("r#\"a \"b\" c\"#"), "a \"b\" c");
        assert_eq!(content("\"a\\n\\\"b\\\"\""), "a\n\"b\"");
    }
}
