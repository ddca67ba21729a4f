//! Protein, macronutrients, carbohydrate, limits, fluids and caffeine.

use super::Check;
use super::reading::{Case, KCAL, KILOS};

pub const CHECKS: &[(&str, Check)] = &[
    ("protein-per-kilo", |case| {
        let (low, high) = match case.kind() {
            "muscle" => (1.6, 2.2),
            "endurance" => (1.2, 1.6),
            "training" => (0.8, 1.0),
            "65" => (1.0, 1.2),
            "exercise" => (1.4, 2.0),
            other => panic!("no range for {other:?}"),
        };
        case.answers(case.kg() * low, 0);
        case.answers(case.kg() * high, 0);
    }),
    ("protein-from-pounds", |case| {
        let kg = (case.one(&["lb", "pounds"]) / 2.205).round();
        case.answers(kg * 1.6, 0);
        case.answers(kg * 2.2, 0);
    }),
    ("protein-per-meal", |case| {
        let meals = case.one(&["meals", "times"]);
        assert!(case.name_contains(&format!("{meals}-meals")), "{}", case.row.id);
        case.answers(case.one(&["g"]) / meals, 1);
        if case.row.answer.contains("0.25") {
            case.answers(case.kg() * 0.25, 1);
        }
    }),
    ("macro-split", |case| {
        let kcal = case.one(KCAL);
        let shares: Vec<f64> = case.others(KCAL).into_iter().take(3).collect();
        assert_eq!(shares.iter().sum::<f64>(), 100.0, "{}", case.row.question);
        for (share, per_gram) in shares.iter().zip([4.0, 4.0, 9.0]) {
            case.answers(kcal * share / 100.0 / per_gram, 0);
        }
    }),
    ("macros-by-weight", |case| {
        let per_kilo = case.all(&["g", "g/kg"]);
        let (protein, fat) = ((case.kg() * per_kilo[0]).round(), (case.kg() * per_kilo[1]).round());
        case.answers(protein, 0);
        case.answers(fat, 0);
        case.answers((case.one(KCAL) - 4.0 * protein - 9.0 * fat) / 4.0, 0);
    }),
    ("calories-from-macros", |case| {
        let grams = case.all(&["g"]);
        case.answers(grams[0] * 4.0 + grams[1] * 4.0 + grams[2] * 9.0, 0);
    }),
    ("carbs-for-training-days", |case| {
        let (low, high) = match case.kind() {
            "light" => (3.0, 5.0),
            "moderate" => (5.0, 7.0),
            _ => (6.0, 10.0),
        };
        case.answers(case.kg() * low, 0);
        case.answers(case.kg() * high, 0);
    }),
    ("carbs-underway", |case| {
        let minutes = case.one(&["minutes", "minuts", "min"]);
        let (low, high) = if minutes > 150.0 { (60.0, 90.0) } else { (30.0, 60.0) };
        case.answers(minutes / 60.0 * low, 0);
        case.answers(minutes / 60.0 * high, 0);
    }),
    ("tenth-of-energy", |case| {
        let per_gram = if case.row.question.contains("sugar") { 4.0 } else { 9.0 };
        case.answers(case.one(KCAL) / 10.0 / per_gram, 0);
    }),
    ("sweat-rate", |case| {
        let (before, after) = heaviest_and_lightest(case);
        let hours = case.one(&["minutes", "minuts", "min"]) / 60.0;
        case.answers_near((before - after + case.one(&["l", "litres"])) / hours, 0.006);
    }),
    ("refill-after-sport", |case| {
        let (before, after) = heaviest_and_lightest(case);
        case.answers_near((before - after) * 1.25, 0.006);
        case.answers_near((before - after) * 1.5, 0.006);
    }),
    ("caffeine-in-drinks", |case| {
        let milligrams = case.one(&["filter"]) * 90.0 + case.one(&["black"]) * 50.0;
        let limit = if case.row.question.to_lowercase().contains("pregnant") { 200.0 } else { 400.0 };
        case.answers(milligrams, 0);
        case.answers(limit, 0);
        case.says(if milligrams > limit { &["above"] } else { &["within"] });
    }),
];

fn heaviest_and_lightest(case: &Case) -> (f64, f64) {
    let kilos = case.all(&[KILOS, &["to"]].concat());
    (kilos.iter().copied().fold(0.0, f64::max), kilos.iter().copied().fold(1e9, f64::min))
}
