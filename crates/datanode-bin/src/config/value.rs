//! Values with a unit, as a person writes them: `"1GiB"`, `"500ms"`, `"10%"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes: `"4MiB"`, `"1.5GB"`, or a bare number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A span of time: `"500ms"`, `"1m 30s"`. Always with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(pub Duration);

/// A share of a whole: `"10%"`, or a number from 0.0 to 1.0.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Ratio(pub f64);

impl Size {
    /// Of `n` times 2^20 bytes.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// Of `n` times 2^30 bytes.
    #[must_use]
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<ByteSize>() {
            // What does not fit saturates: nobody means 16 EiB exactly.
            Ok(size) if size.as_u64() < u64::MAX => Ok(Self(size.as_u64())),
            _ => Err(format!("{text:?} is no size: write it like \"512MiB\" or \"1GiB\"")),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let exact = UNITS.iter().find(|(shift, _)| self.0 > 0 && self.0.is_multiple_of(1 << shift));
        match exact {
            Some((shift, unit)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Interval {
    /// Of so many milliseconds.
    #[must_use]
    pub const fn ms(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no time: write it like \"500ms\", \"30s\" or \"2m\"");
        humantime::parse_duration(text).map(Self).map_err(|_| wrong())
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl FromStr for Ratio {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = match text.trim().strip_suffix('%') {
            Some(percent) => percent.trim().parse::<f64>().map(|n| n / 100.0),
            None => text.trim().parse(),
        };
        match number {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(Self(ratio)),
            _ => Err(format!("{text:?} is no share: write it like \"10%\", from 0% to 100%")),
        }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0 * 100.0)
    }
}

/// Reads a value from a string, or from a number where `from_number` takes it.
struct Text<T> {
    expected: &'static str,
    from_number: fn(f64) -> Option<T>,
}

impl<T: FromStr<Err = String>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        let wrong = || E::invalid_type(de::Unexpected::Signed(number), &self);
        // Sizes below 2^53 bytes (8 PiB) are exact in a float.
        let exact = i32::try_from(number >> 21).ok().filter(|_| number >= 0);
        #[expect(clippy::cast_precision_loss, reason = "checked to be below 2^53")]
        exact.and_then(|_| (self.from_number)(number as f64)).ok_or_else(wrong)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        let wrong = || E::invalid_type(de::Unexpected::Float(number), &self);
        (self.from_number)(number).ok_or_else(wrong)
    }
}

macro_rules! serde_as_text {
    ($name:ident, $expected:literal, $from_number:expr) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let visitor = Text { expected: $expected, from_number: $from_number };
                deserializer.deserialize_any(visitor)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

serde_as_text!(Size, "a size such as \"512MiB\" or \"1GiB\"", |n| {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
    (n >= 0.0 && n.fract() == 0.0).then_some(Size(n as u64))
});
serde_as_text!(Interval, "a time with its unit, such as \"500ms\" or \"30s\"", |_| None);
serde_as_text!(Ratio, "a share such as \"10%\"", |n| {
    (0.0..=1.0).contains(&n).then_some(Ratio(n))
});

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: FromStr<Err = String> + fmt::Display>(text: &str, expected: Result<&str, &str>) {
        let shown = text.parse::<T>().map(|value| value.to_string());
        match (&shown, expected) {
            (Ok(shown), Ok(expected)) => assert_eq!(shown, expected, "{text:?}"),
            (Err(error), Err(part)) => assert!(error.contains(part), "{text:?}: {error}"),
            _ => panic!("{text:?} gives {shown:?}, not {expected:?}"),
        }
    }

    #[test]
    fn reads_and_shows_values_with_units() {
        check::<Size>("1GiB", Ok("1GiB"));
        check::<Size>("1536 MiB", Ok("1536MiB"));
        check::<Size>("1.5GiB", Ok("1536MiB"));
        check::<Size>("1kB", Ok("1000B"));
        check::<Size>("0", Ok("0B"));
        check::<Size>("-1", Err("is no size"));
        check::<Size>("99999999999TiB", Err("is no size"));
        check::<Size>("much", Err("\"1GiB\""));
        check::<Interval>("500ms", Ok("500ms"));
        check::<Interval>("90s", Ok("1m 30s"));
        check::<Interval>("0s", Ok("0s"));
        check::<Interval>("5", Err("is no time"));
        check::<Interval>("-5s", Err("is no time"));
        check::<Ratio>("10%", Ok("10%"));
        check::<Ratio>("0.25", Ok("25%"));
        check::<Ratio>("101%", Err("from 0% to 100%"));
        check::<Ratio>("NaN", Err("is no share"));
    }
}
