//! Sums of the gym, the kitchen, the shop, the track and the hill.

use super::Check;
use super::reading::{Case, KCAL, KILOS};

pub const CHECKS: &[(&str, Check)] = &[
    ("plates-per-side", |case| {
        let total = case.all(KILOS).into_iter().fold(0.0, f64::max);
        let side = (total - 20.0) / 2.0;
        case.answers_near(side, 0.001);
        let Some(plates) = case.row.answer.split_once(" + ") else { return };
        // The run of plates adds up to one side.
        let first = plates.0.rsplit(' ').next().unwrap_or_default();
        let rest = plates.1.split(" + ").map(|plate| plate.split_whitespace().next().unwrap_or_default());
        let sum: f64 = [first]
            .into_iter()
            .chain(rest)
            .filter_map(|plate| plate.trim_matches(['.', ',']).parse::<f64>().ok())
            .sum();
        assert_eq!(sum, side, "{}", case.row.answer);
    }),
    ("recipe-portions", |case| {
        let portions = case.others(&[KCAL, &["g"]].concat())[0];
        case.answers(case.one(KCAL) / portions, 0);
        case.answers(case.one(&["g"]) / portions, 1);
    }),
    ("protein-price", |case| {
        let grams = case.all(&["g"]);
        let (pack, per_100) = (largest(&grams), smallest(&grams));
        let price = case.one(&["euro", "euros", "€"]);
        case.answers(price / (pack * per_100 / 100.0) * 100.0, 2);
    }),
    ("powder-tub-days", |case| {
        let grams = case.all(&["g"]);
        let a_day = case.question.iter().map(|figure| figure.value).find(|value| *value < 3.0).expect("scoops a day");
        case.answers((largest(&grams) / (smallest(&grams) * a_day)).floor(), 0);
    }),
    ("gym-visit-cost", |case| {
        let euros = case.all(&["euro", "euros"]);
        let visits = case.others(&["euro", "euros"])[0];
        case.answers(euros[0] / visits, 2);
        case.answers(euros[0] / euros[1], 1);
    }),
    ("pounds-to-kilos", |case| case.answers(case.one(&["lb", "lbs", "pounds"]) / 2.205, 1)),
    ("feet-to-centimetres", |case| {
        case.answers((case.question[0].value * 12.0 + case.question[1].value) * 2.54, 1);
    }),
    ("bottle-refills", |case| case.answers(case.others(&["ml"])[0] * 1_000.0 / case.one(&["ml"]), 1)),
    ("track-laps", |case| case.answers_near(case.clock() * 0.4, 0.51)),
    ("pool-pace", |case| {
        let metres = largest(&case.all(&["m", "metres"]));
        case.answers_near(case.clock() * 100.0 / metres, 0.51);
    }),
    ("ride-duration", |case| case.answers(case.one(&["km"]) / case.one(&["km/h"]), 2)),
    ("interval-session-length", |case| {
        let minutes: Vec<f64> = case.question.iter().map(|figure| figure.value).collect();
        // Questions that begin with the repeats name the warm-up fourth, the others name it first.
        let repeats_first = ["x", "repeats"].contains(&case.question[0].unit.as_str());
        let (times, hard, easy, warm_up) = if repeats_first {
            (minutes[0], minutes[1], minutes[2], minutes[3])
        } else {
            (minutes[1], minutes[2], minutes[3], minutes[0])
        };
        case.answers(warm_up + times * (hard + easy) + minutes[4], 0);
    }),
    ("treadmill-climb", |case| case.answers(case.one(&["km"]) * 10.0 * percent(case), 0)),
    ("hill-gradient", |case| case.answers(case.one(&["m"]) / case.one(&["km"]) / 10.0, 1)),
    ("stair-metres", |case| case.answers(product(case) / 100.0, 1)),
    ("cadence-times-step", |case| case.answers(product(case) * 60.0 / 100_000.0, 1)),
];

fn percent(case: &Case) -> f64 {
    case.one(&["%", "percent", "procent"])
}

fn product(case: &Case) -> f64 {
    case.question.iter().map(|figure| figure.value).product()
}

fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

fn smallest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}
