//! The words of one line, read from left to right.

use super::super::words;
use crate::types::{LogIndex, NodeId, Term};

pub(super) struct Cursor {
    words: Vec<String>,
    next: usize,
}

impl Cursor {
    /// Splits a line at its spaces. Text in double quotes is one word.
    pub(super) fn new(line: &str) -> Result<Self, String> {
        let mut words = Vec::new();
        for (position, part) in line.split('"').enumerate() {
            if position % 2 == 1 {
                words.push(part.to_owned());
            } else {
                words.extend(part.split_whitespace().map(str::to_owned));
            }
        }
        if line.matches('"').count() % 2 == 1 {
            return Err("a `\"` is not closed".to_owned());
        }
        Ok(Self { words, next: 0 })
    }

    /// All words of the line.
    pub(super) fn text(&self) -> String {
        self.words.join(" ")
    }

    /// The words from `start` up to the current position.
    pub(super) fn text_from(&self, start: usize) -> String {
        self.words[start..self.next].join(" ")
    }

    pub(super) const fn position(&self) -> usize {
        self.next
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.next >= self.words.len()
    }

    /// Whether the next word is `word`.
    pub(super) fn sees(&self, word: &str) -> bool {
        self.words.get(self.next).is_some_and(|next| next == word)
    }

    /// Takes the next word if it is `word`. Returns whether it was.
    pub(super) fn take(&mut self, word: &str) -> bool {
        let taken = self.sees(word);
        if taken {
            self.next += 1;
        }
        taken
    }

    /// Takes the next words if they are `phrase`. Returns whether they were.
    pub(super) fn take_all(&mut self, phrase: &str) -> bool {
        let start = self.next;
        let all = phrase.split(' ').all(|word| self.take(word));
        if !all {
            self.next = start;
        }
        all
    }

    /// Takes any next word.
    pub(super) fn next(&mut self, expected: &str) -> Result<String, String> {
        let word = self.words.get(self.next).cloned();
        let word = word.ok_or_else(|| self.fault(expected))?;
        self.next += 1;
        Ok(word)
    }

    /// Takes the next words, which must be `expected`.
    pub(super) fn word(&mut self, expected: &str) -> Result<(), String> {
        if self.take_all(expected) { Ok(()) } else { Err(self.fault(&format!("`{expected}`"))) }
    }

    /// Takes the words up to `stop`, which is not taken, or to the end.
    pub(super) fn until(&mut self, stop: &str, expected: &str) -> Result<String, String> {
        let mut taken = Vec::new();
        while !self.is_at_end() && !self.sees(stop) {
            taken.push(self.next(expected)?);
        }
        if taken.is_empty() { Err(self.fault(expected)) } else { Ok(taken.join(" ")) }
    }

    pub(super) fn number(&mut self, expected: &str) -> Result<u64, String> {
        let word = self.next(expected)?;
        word.parse().map_err(|_| {
            self.next -= 1;
            self.fault(expected)
        })
    }

    /// `S1`.
    pub(super) fn node(&mut self) -> Result<NodeId, String> {
        let expected = "a server such as `S1`";
        let word = self.next(expected)?;
        let number = word.strip_prefix('S').and_then(|number| number.parse::<u64>().ok());
        number.filter(|number| *number > 0).map(NodeId).ok_or_else(|| {
            self.next -= 1;
            self.fault(expected)
        })
    }

    /// `index 2`.
    pub(super) fn index(&mut self) -> Result<LogIndex, String> {
        self.word("index")?;
        Ok(LogIndex(self.number("the number of an index")?))
    }

    /// `term 2`.
    pub(super) fn term(&mut self) -> Result<Term, String> {
        self.word("term")?;
        Ok(Term(self.number("the number of a term")?))
    }

    /// Fails if words are left.
    pub(super) fn end(&self) -> Result<(), String> {
        if self.is_at_end() { Ok(()) } else { Err(self.fault("the end of the line")) }
    }

    /// The message about an unexpected word at the current position.
    pub(super) fn fault(&self, expected: &str) -> String {
        match self.words.get(self.next) {
            Some(found) => format!("expected {expected}, found `{found}` in `{}`", self.text()),
            None => format!("expected {expected} after `{}`", self.text()),
        }
    }

    /// The message about a word that is not among the known words.
    pub(super) fn unknown(what: &str, word: &str, known: &[&str]) -> String {
        words::unknown(what, word, known.iter().copied()).to_string()
    }
}
