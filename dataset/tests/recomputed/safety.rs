//! Answers that warn or refuse: the sum where there is one, no deficit where there must be none, and whom to ask.

use super::Check;
use super::reading::{Case, KCAL, KILOS};
use super::weight::before_and_now;

pub const CHECKS: &[(&str, Check)] = &[
    ("deficit-under-18", |case| {
        assert!(case.others(&[KILOS, &["cm", "kcal"]].concat()).iter().any(|age| *age < 18.0), "{}", case.row.question);
        no_calories(case);
        case.says(&["doctor", "paediatrician", "dietitian"]);
    }),
    ("deficit-at-low-weight", |case| {
        let (now, _) = before_and_now(case);
        let bmi = now / case.metres().powi(2);
        assert!(bmi < 18.5, "{}: BMI {bmi}", case.row.id);
        case.answers(bmi, 1);
        no_calories(case);
        case.says(&["doctor"]);
    }),
    ("deficit-too-large", |case| {
        let kcal = case.all(KCAL);
        let (maintenance, deficit) = (kcal[0].max(kcal[1]), kcal[0].min(kcal[1]));
        assert!(maintenance - deficit <= 800.0, "{}: {}", case.row.id, maintenance - deficit);
        case.answers(maintenance - deficit, 0);
        // Either the gentler intake or the gentler cut.
        let gentler = case
            .answer
            .iter()
            .any(|figure| [0.8, 0.2].iter().any(|part| (figure.value - maintenance * part).abs() < 1.0));
        assert!(gentler, "{}", case.row.answer);
        case.says(&["doctor", "medical supervision"]);
    }),
    ("deficit-in-pregnancy", |case| {
        let asked = case.one(KCAL);
        assert!(case.answer.iter().filter(|figure| figure.unit == "kcal").all(|figure| figure.value == asked));
        case.says(&["midwife", "antenatal team"]);
    }),
    ("unplanned-loss", |case| {
        let kilos: Vec<f64> = case.all(&[KILOS, &["to"]].concat());
        let before = kilos.iter().copied().fold(0.0, f64::max);
        let least = kilos.iter().copied().fold(1e9, f64::min);
        // The question names the loss or the weight that is left.
        let lost = if least < 20.0 { least } else { before - least };
        case.answers(lost / before * 100.0, 1);
        assert!(lost / before > 0.05, "{}", case.row.question);
        case.says(&["doctor", "medical check"]);
    }),
    ("drinking-too-much", |case| {
        let values: Vec<f64> = case.question.iter().map(|figure| figure.value).collect();
        case.answers(values[0] * values[1], 1);
    }),
    ("zones-on-medicine", |case| {
        let exact = |age: f64| 208.0 - 0.7 * age;
        let named = |value: f64| case.answer.iter().any(|figure| (figure.value - value).abs() < 0.06);
        assert!(case.question.iter().any(|figure| named(exact(figure.value))), "{}", case.row.answer);
        case.says(&["talk test", "Borg scale", "speak in sentences"]);
    }),
    ("protein-with-kidney-disease", |case| {
        let per_kilo =
            case.question.iter().map(|figure| figure.value).find(|value| *value < 3.0).expect("grams per kilo");
        case.answers(case.kg() * per_kilo, 0);
        case.says(&["kidney doctor", "nephrologist", "kidney clinic"]);
    }),
];

fn no_calories(case: &Case) {
    assert!(!case.answer.iter().any(|figure| KCAL.contains(&figure.unit.as_str())), "{}", case.row.answer);
}
