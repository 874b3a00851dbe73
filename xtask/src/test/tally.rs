//! Counts tests by parsing the summary lines of test runners.

use std::ops::AddAssign;

/// Numbers of tests by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Ignored or skipped.
    pub(crate) ignored: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

impl Tally {
    /// Counts that a line of output adds. It understands three runners:
    ///
    /// - libtest and wasm-bindgen-test: `test result: ok. 3 passed; 0 failed; 1 ignored; ...`
    /// - nextest: `Summary [ 1.2s] 5 tests run: 3 passed (1 slow), 1 failed, 1 timed out, 1
    ///   skipped`
    pub(crate) fn of_line(line: &str) -> Self {
        let plain = without_colours(line);
        // nextest prints the indented output of a failed test, which includes a summary of its own.
        let counts = if let Some(rest) = plain.strip_prefix("test result:") {
            rest.split_once('.').map(|(_, counts)| counts)
        } else if plain.trim_start().starts_with("Summary [") {
            plain.split_once(" run:").map(|(_, counts)| counts)
        } else {
            None
        };
        let mut tally = Self::default();
        for part in counts.unwrap_or_default().split([';', ',', '(']) {
            let Some((number, word)) = part.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match word.trim_end_matches(')') {
                "passed" => tally.passed += number,
                "failed" | "timed out" | "exec failed" => tally.failed += number,
                "ignored" | "skipped" => tally.ignored += number,
                // Measured, filtered out, slow, leaky, flaky: counted elsewhere or not run.
                _ => {}
            }
        }
        tally
    }
}

/// Removes terminal escape sequences from a line.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            // A colour is ESC [ ... m.
            characters.by_ref().find(|&c| c == 'm');
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u64, failed: u64, ignored: u64) -> Tally {
        Tally { passed, failed, ignored }
    }

    #[test]
    fn summary_lines_of_every_runner_are_counted() {
        let cases = [
            (
                "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s",
                tally(3, 0, 1),
            ),
            (
                "test result: FAILED. 2 passed; 5 failed; 0 ignored; 0 filtered out; finished in 1.5s",
                tally(2, 5, 0),
            ),
            ("     Summary [   0.012s] 5 tests run: 5 passed, 1 skipped", tally(5, 0, 1)),
            ("     Summary [   0.012s] 1 test run: 1 passed, 0 skipped", tally(1, 0, 0)),
            (
                "     Summary [  61.2s] 9/12 tests run: 5 passed (1 slow, 2 flaky), 1 failed, 2 timed out, 1 exec failed, 3 skipped",
                tally(5, 4, 3),
            ),
            (
                "\u{1b}[32;1m     Summary\u{1b}[0m [   0.012s] \u{1b}[1m2\u{1b}[0m tests run: \u{1b}[1m2\u{1b}[0m passed, \u{1b}[1m0\u{1b}[0m skipped",
                tally(2, 0, 0),
            ),
            ("test result: ok. \u{1b}[32m4 passed\u{1b}[0m; 0 failed; 0 ignored", tally(4, 0, 0)),
        ];
        for (line, expected) in cases {
            assert_eq!(Tally::of_line(line), expected, "{line}");
        }
    }

    #[test]
    fn other_lines_count_nothing() {
        let lines = [
            "running 3 tests",
            "test rules::tests::one_vote_a_term ... ok",
            "the log says: 3 passed; 4 failed",
            "test result:",
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; finished in 1.01s",
            "Summary [",
            "",
        ];
        for line in lines {
            assert_eq!(Tally::of_line(line), Tally::default(), "{line}");
        }
    }

    #[test]
    fn tallies_add_up() {
        let mut sum = tally(1, 2, 3);
        sum += tally(10, 20, 30);
        assert_eq!(sum, tally(11, 22, 33));
    }
}
