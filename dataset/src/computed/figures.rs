//! Figures as the answers print them: 1,399 and 2.5 and 1:49:58.

pub fn whole(value: f64) -> String {
    decimals(value, 0)
}

pub fn tenths(value: f64) -> String {
    decimals(value, 1)
}

pub fn hundredths(value: f64) -> String {
    decimals(value, 2)
}

pub fn thousandths(value: f64) -> String {
    decimals(value, 3)
}

/// Metres with the zero that people say: 1.70.
pub fn height(metres: f64) -> String {
    format!("{metres:.2}")
}

/// Rounded to the nearest multiple of `step`: nobody eats 2,517 kcal.
pub fn rounded_to(step: f64, value: f64) -> f64 {
    (value / step).round() * step
}

/// At most so many decimals, no zeros at the end, a comma between thousands.
fn decimals(value: f64, places: usize) -> String {
    // A hair is added, away from zero: 0.285 × 100 is 28.499999999999996 to the machine and 28.5 to the reader.
    let text = format!("{:.places$}", value + value.signum() * 1e-9);
    let text = if places > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    let (digits, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if fraction.is_empty() { grouped } else { format!("{grouped}.{fraction}") }
}

/// 341 -> 5:41, 6598 -> 1:49:58.
pub fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as i64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// 129 -> 2:09.
pub fn hours_and_minutes(minutes: f64) -> String {
    let minutes = minutes.round() as i64;
    format!("{}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_people_write_them() {
        assert_eq!([whole(1399.4), tenths(27.04), hundredths(1043.75)], ["1,399", "27", "1,043.75"]);
        assert_eq!([whole(-1234.0), whole(-400.0), tenths(0.285 * 10.0)], ["-1,234", "-400", "2.9"]);
        assert_eq!([clock(341.2), clock(6598.0), clock(59.7)], ["5:41", "1:49:58", "1:00"]);
        assert_eq!(hours_and_minutes(129.0), "2:09");
        assert_eq!(rounded_to(2.5, 78.6), 77.5);
    }
}
