//! Parses version numbers from the output of programs.

/// Returns the first dotted number in a text such as `trunk 0.21.14` or `Chromium 156.0.8078.79
/// built on`.
pub(crate) fn first(text: &str) -> Option<Vec<u64>> {
    text.split(|c: char| c.is_whitespace() || c == '(' || c == ')')
        .find_map(|word| parse(word.strip_prefix('v').unwrap_or(word)))
}

/// Parses a dotted number of at least two parts; `None` for anything else, including pre-releases.
fn parse(word: &str) -> Option<Vec<u64>> {
    let parts: Option<Vec<u64>> = word.split('.').map(|part| part.parse().ok()).collect();
    parts.filter(|parts| parts.len() >= 2)
}

/// Formats a version in dotted form.
pub(crate) fn show(version: &[u64]) -> String {
    version.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_print() {
        let cases = [
            ("trunk 0.21.14\n", Some(vec![0, 21, 14])),
            ("wasm-bindgen 0.2.126", Some(vec![0, 2, 126])),
            ("Chromium 156.0.8078.79 built on Debian", Some(vec![156, 0, 8078, 79])),
            ("ChromeDriver 156.0.8078.79 (0a1b-refs/x@{#1})", Some(vec![156, 0, 8078, 79])),
            ("v20.20.2", Some(vec![20, 20, 2])),
            ("rustc 1.95.0 (59807616e 2026-04-14)", Some(vec![1, 95, 0])),
            ("wasm-bindgen 0.2.126-beta", None),
            ("no number here, only 7", None),
        ];
        for (text, expected) in cases {
            assert_eq!(first(text), expected, "{text}");
        }
    }

    #[test]
    fn showing_is_the_inverse_of_parsing() {
        assert_eq!(parse(&show(&[0, 21, 14])), Some(vec![0, 21, 14]));
    }
}
