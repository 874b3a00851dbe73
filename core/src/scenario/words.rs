//! The words of a scenario that name parts of the core, and the messages about unknown words.

use serde::Deserialize;
use serde::de::value::StrDeserializer;

/// The message about an unknown word, with the known words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unknown(String);

/// Describes an unknown `word`, with the most similar known word and all known words.
pub(super) fn unknown(
    what: &str,
    word: &str,
    known: impl IntoIterator<Item = impl Into<String>>,
) -> Unknown {
    let known: Vec<String> = known.into_iter().map(Into::into).collect();
    let likeness = |candidate: &String| {
        strsim::normalized_damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase())
    };
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let hint = match best {
        Some(best) if likeness(best) >= 0.5 => format!("; did you mean `{best}`?"),
        Some(_) | None => String::new(),
    };
    let list = known.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ");
    Unknown(format!("unknown {what} `{word}`{hint} Use one of {list}", hint = period(&hint)))
}

fn period(hint: &str) -> String {
    if hint.is_empty() { ".".to_owned() } else { hint.to_owned() }
}

/// The variant of a serde enum without data whose name is `word`. Spaces, dashes and capitals do
/// not matter.
pub(super) fn variant<'de, T: Deserialize<'de>>(what: &str, word: &str) -> Result<T, Unknown> {
    let snake = word.trim().to_lowercase().replace([' ', '-'], "_");
    // Neither the value nor the error borrows from `snake`.
    match T::deserialize(StrDeserializer::<VariantError>::new(&snake)) {
        Ok(value) => Ok(value),
        Err(VariantError(known)) => {
            Err(unknown(what, word, known.iter().map(|it| it.replace('_', " "))))
        }
    }
}

/// The names of all variants of a serde enum, as in serde.
pub(super) fn variants<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    match T::deserialize(StrDeserializer::<VariantError>::new("")) {
        Ok(_) => &[],
        Err(VariantError(known)) => known,
    }
}

/// Serde lists the variants only in the error about an unknown variant.
#[derive(Debug)]
struct VariantError(&'static [&'static str]);

impl std::fmt::Display for VariantError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "one of {:?}", self.0)
    }
}

impl std::error::Error for VariantError {}

impl serde::de::Error for VariantError {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Self(&[])
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self(expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Mutation;

    /// Guards that the names of rules come from the enum itself, and that a misspelled name gives
    /// only a hint.
    #[test]
    fn names_come_from_the_enums_themselves() {
        assert_eq!(variant::<Mutation>("rule", "vote twice"), Ok(Mutation::VoteTwice));
        assert_eq!(variant::<Mutation>("rule", "Vote-Twice"), Ok(Mutation::VoteTwice));
        let error = variant::<Mutation>("rule", "vote twize").unwrap_err().to_string();
        assert!(error.contains("did you mean `vote twice`?"), "{error}");
        assert!(variants::<Mutation>().contains(&"vote_twice"));
        let lost = unknown("word", "zzz", ["vote"]).to_string();
        assert_eq!(lost, "unknown word `zzz`. Use one of `vote`");
    }
}
