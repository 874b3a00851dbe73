//! Number conversions for drawing. Drawn values stay far below 2^52, so they lose no visible
//! precision.

/// Converts a count, an index or a time in microseconds to a coordinate.
#[expect(clippy::cast_precision_loss, reason = "positions on a screen, not identities")]
pub(crate) const fn real(number: u64) -> f64 {
    number as f64
}

/// Converts a coordinate to a count. Negative numbers and NaN become zero.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a saturating cast is what is wanted"
)]
pub(crate) const fn whole(number: f64) -> u64 {
    number as u64
}

/// Converts a list length to a coordinate.
#[expect(clippy::cast_precision_loss, reason = "lists on a screen are short")]
pub(crate) const fn len(length: usize) -> f64 {
    length as f64
}

/// Converts a coordinate to a list index.
pub(crate) fn place(number: f64) -> usize {
    usize::try_from(whole(number)).unwrap_or(usize::MAX)
}

/// Formats a coordinate with one decimal, which is enough and keeps the document small and stable.
pub(crate) fn px(coordinate: f64) -> String {
    let tenths = (coordinate * 10.0).round() / 10.0;
    // Without this, `-0` makes two equal documents differ.
    format!("{}", tenths + 0.0)
}

/// Formats a duration in microseconds: `12 ms`, `0.48 s`, `1 min 05 s`.
pub(crate) fn span(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..100_000 => format!("{:.1} ms", real(micros) / 1e3),
        100_000..10_000_000 => format!("{:.2} s", real(micros) / 1e6),
        10_000_000..60_000_000 => format!("{:.1} s", real(micros) / 1e6),
        _ => format!("{} min {:02} s", micros / 60_000_000, micros / 1_000_000 % 60),
    }
}

/// Formats a lag in microseconds: `0.3 s behind`, `2 min 05 s behind`.
pub(crate) fn behind(micros: u64) -> String {
    let tenths = micros / 100_000;
    if tenths < 1_000 {
        format!("{}.{} s behind", tenths / 10, tenths % 10)
    } else {
        format!("{} min {:02} s behind", tenths / 600, tenths / 10 % 60)
    }
}

/// Formats a count with thousands separators: `1,234,567`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut words = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            words.push(',');
        }
        words.push(digit);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the format of the durations and counts that the page shows.
    #[test]
    fn spans_are_short_and_carry_their_unit() {
        assert_eq!(span(0), "0 µs");
        assert_eq!(span(12_340), "12.3 ms");
        assert_eq!(span(482_000), "0.48 s");
        assert_eq!(span(12_000_000), "12.0 s");
        assert_eq!(span(65_000_000), "1 min 05 s");
        assert_eq!(behind(312_000), "0.3 s behind");
        assert_eq!(behind(99_990_000), "99.9 s behind");
        assert_eq!(behind(125_400_000), "2 min 05 s behind");
        assert_eq!([7, 1_000, 1_234_567].map(grouped), ["7", "1,000", "1,234,567"]);
    }

    /// Guards against `-0` and long fractions, which make unchanged elements look changed.
    #[test]
    fn coordinates_are_stable() {
        assert_eq!(px(-0.01), "0");
        assert_eq!(px(1.0 / 3.0), "0.3");
        assert_eq!(whole(f64::NAN), 0);
        assert_eq!(whole(-3.0), 0);
    }
}
