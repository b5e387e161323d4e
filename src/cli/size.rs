//! Byte sizes as people write and read them.

/// Parses `512MiB`, `64m`, `1GB`, `1048576`. Binary multiples for `K`, `M`, `G`, `T` and `KiB`…, decimal ones for
/// `KB`, `MB`, `GB`, `TB`.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let (base, power): (f64, i32) = match unit.as_str() {
        "" | "b" => (1.0, 0),
        "k" | "kib" => (1024.0, 1),
        "m" | "mib" => (1024.0, 2),
        "g" | "gib" => (1024.0, 3),
        "t" | "tib" => (1024.0, 4),
        "kb" => (1000.0, 1),
        "mb" => (1000.0, 2),
        "gb" => (1000.0, 3),
        "tb" => (1000.0, 4),
        _ => return Err(format!("unknown unit {unit:?}; use for example 512MiB or 1GB")),
    };
    let number: f64 = number.parse().map_err(|_| "expected a number such as 512MiB".to_owned())?;
    let bytes = number * base.powi(power);
    if bytes.is_finite() && (0.0..=9e18).contains(&bytes) {
        Ok(bytes as u64)
    } else {
        Err("too large".to_owned())
    }
}

/// `1.5 GiB`; whole bytes below a KiB.
pub(super) fn human(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// ` (3.6x smaller)`; nothing when there is nothing to compare.
pub(super) fn times_smaller(bytes: u64, stored_bytes: u64) -> String {
    if stored_bytes == 0 {
        return String::new();
    }
    format!(" ({:.1}x smaller)", bytes as f64 / stored_bytes as f64)
}

/// `1 file`, `1,234 files`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse("512MiB"), Ok(512 << 20));
        assert_eq!(parse("64 m"), Ok(64 << 20));
        assert_eq!(parse("1.5GB"), Ok(1_500_000_000));
        assert_eq!(parse("1048576"), Ok(1 << 20));
        assert!(parse("12 parsecs").is_err() && parse("").is_err() && parse("-1").is_err());
        assert_eq!((human(1023).as_str(), human(1536).as_str()), ("1023 B", "1.5 KiB"));
        assert_eq!((times_smaller(14, 0).as_str(), times_smaller(18, 5).as_str()), ("", " (3.6x smaller)"));
        assert_eq!((grouped(7).as_str(), grouped(1_234_567).as_str()), ("7", "1,234,567"));
    }
}
