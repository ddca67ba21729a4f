//! Heart rates, paces and race times.

use super::Check;
use super::reading::{Case, figures};

pub const CHECKS: &[(&str, Check)] = &[
    ("maximum-heart-rate", |case| {
        let formula = [220.0, 208.0, 0.7];
        let age =
            case.question.iter().map(|figure| figure.value).find(|value| !formula.contains(value)).expect("an age");
        case.answers(208.0 - 0.7 * age, 0);
    }),
    ("karvonen", |case| {
        let (low, high) = band(case);
        let others = without_band(case, low, high);
        let (rest, max) = (others[0].min(others[1]), others[0].max(others[1]));
        zone(case, rest, max, low, high);
    }),
    ("karvonen-by-age", |case| {
        let (low, high) = band(case);
        let others = without_band(case, low, high);
        zone(case, others[1], (208.0 - 0.7 * others[0]).round(), low, high);
    }),
    ("pace-from-time", |case| case.answers_near(case.clock() / kilometres(case)[0], 0.51)),
    ("time-from-pace", |case| case.answers_near(case.clock() * kilometres(case)[0], 0.51)),
    ("pace-from-speed", |case| case.answers_near(3_600.0 / case.question[0].value, 0.51)),
    ("mile-pace", |case| case.answers_near(case.clock() * 1.609, 0.51)),
    ("riegel", |case| {
        let km = kilometres(case);
        let (known, new) = (km[0].min(km[1]), km[0].max(km[1]));
        let predicted = case.clock() * (new / known).powf(1.06);
        // The answers multiply with a factor of three decimals.
        let clocks = figures(&case.row.answer).into_iter().filter(|figure| figure.is_clock);
        let nearest = clocks.map(|clock| (clock.value - predicted).abs()).fold(1e9, f64::min);
        assert!(nearest <= 0.0005 * case.clock() + 1.0, "{}: {predicted} in {:?}", case.row.id, case.row.answer);
    }),
];

fn band(case: &Case) -> (f64, f64) {
    match case.kind() {
        "easy" => (50.0, 60.0),
        "steady" => (60.0, 70.0),
        "brisk" => (70.0, 80.0),
        other => {
            assert_eq!(other, "hard");
            (80.0, 90.0)
        }
    }
}

/// The two figures beside the percentages, which stand next to each other.
fn without_band(case: &Case, low: f64, high: f64) -> Vec<f64> {
    let mut values: Vec<f64> = case.question.iter().map(|figure| figure.value).collect();
    let at = values.windows(2).position(|pair| pair == [low, high]).expect("the percentages of the zone");
    values.drain(at..at + 2);
    values
}

fn zone(case: &Case, rest: f64, max: f64, low: f64, high: f64) {
    assert!((40.0..80.0).contains(&rest) && (160.0..200.0).contains(&max), "{}: {rest} to {max}", case.row.id);
    case.answers(rest + (max - rest) * low / 100.0, 0);
    case.answers(rest + (max - rest) * high / 100.0, 0);
}

fn kilometres(case: &Case) -> Vec<f64> {
    case.all(&["km"])
}
