//! BMI, changes of weight, deficits and gaining: the sums, and that nobody is advised to lose who should not.

use super::Check;
use super::reading::{Case, KCAL, KILOS};

pub const CHECKS: &[(&str, Check)] = &[
    ("bmi", |case| {
        let bmi = case.bmi();
        case.answers(bmi, 1);
        let range = if bmi < 25.0 {
            "18.5 to 24.9"
        } else if bmi < 30.0 {
            "25 to 29.9"
        } else {
            "begins at 30"
        };
        assert!(bmi >= 18.5, "{}: underweight needs another answer", case.row.id);
        case.says(&[range]);
    }),
    ("weight-range", |case| {
        let square = case.metres().powi(2);
        case.answers(18.5 * square, 1);
        case.answers(24.9 * square, 1);
    }),
    ("percent-lost", |case| {
        let (before, now) = before_and_now(case);
        case.answers((before - now) / before * 100.0, 1);
        assert!(before / case.metres().powi(2) >= 25.0, "{}: praise for losing at a normal weight", case.row.id);
    }),
    ("weekly-loss", |case| {
        let kcal = case.all(KCAL);
        let (maintenance, deficit) =
            (kcal.iter().copied().fold(0.0, f64::max), kcal.iter().copied().fold(1e9, f64::min));
        case.answers(deficit / 1_100.0, 2);
        if case.row.answer.contains('−') {
            case.answers(maintenance - deficit, 0);
        }
        bmi_if_named(case);
        safe_to_lose(case, maintenance - deficit);
        assert!(deficit / 1_100.0 <= 0.01 * case.kg(), "{}: faster than 1 % a week", case.row.id);
    }),
    ("intake-in-a-deficit", |case| {
        let maintenance = case.question.iter().map(|figure| figure.value).fold(0.0, f64::max);
        let percent = case.one(&["%", "percent", "procent"]);
        let intake = maintenance * (100.0 - percent) / 100.0;
        case.answers_near(intake, 0.51);
        bmi_if_named(case);
        safe_to_lose(case, intake);
    }),
    ("weeks-to-goal", |case| {
        let (before, goal) = before_and_now(case);
        let rate = case.question.iter().map(|figure| figure.value).find(|value| *value < 1.0).expect("a weekly rate");
        case.answers((before - goal) / rate, 1);
        assert!(goal / case.metres().powi(2) >= 22.0, "{}: the goal is too low", case.row.id);
        assert!(rate <= 0.01 * before, "{}: faster than 1 % a week", case.row.id);
        assert!(case.age() >= 18.0, "{}: a minor", case.row.id);
    }),
    ("gaining-rate", |case| {
        case.answers(case.kg() * 0.0025, 2);
        case.answers(case.kg() * 0.005, 2);
        assert!((18.5..25.0).contains(&case.bmi()), "{}: BMI {}", case.row.id, case.bmi());
    }),
];

/// The heavier and the lighter of the weights in the question.
pub fn before_and_now(case: &Case) -> (f64, f64) {
    let kilos: Vec<f64> = case.all(&[KILOS, &["to"]].concat()).into_iter().filter(|kg| *kg > 30.0).collect();
    (kilos.iter().copied().fold(0.0, f64::max), kilos.iter().copied().fold(1e9, f64::min))
}

fn bmi_if_named(case: &Case) {
    if case.row.answer.contains("BMI of") {
        case.answers(case.bmi(), 1);
    }
}

fn safe_to_lose(case: &Case, intake: f64) {
    assert!(case.bmi() >= 25.0, "{}: a deficit at a BMI of {:.1}", case.row.id, case.bmi());
    assert!(case.age() >= 18.0, "{}: a deficit for a minor", case.row.id);
    assert!(intake >= 1_400.0, "{}: only {intake} kcal left", case.row.id);
}
