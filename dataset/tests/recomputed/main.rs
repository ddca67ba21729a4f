//! Recomputes every computed row from its published text: the inputs are read out of the question, the results looked
//! for in the answer. Nothing here is shared with the code that wrote them but the row format.

#[path = "../committed/mod.rs"]
mod committed;
mod endurance;
mod energy;
mod equations;
mod everyday;
mod food;
mod reading;
mod safety;
mod strength;
mod weight;

use std::collections::BTreeMap;

use reading::Case;

/// Checks one row, panicking where the row is wrong.
type Check = fn(&Case);

fn checks() -> BTreeMap<&'static str, Check> {
    [
        energy::CHECKS,
        weight::CHECKS,
        food::CHECKS,
        strength::CHECKS,
        endurance::CHECKS,
        everyday::CHECKS,
        safety::CHECKS,
    ]
    .into_iter()
    .flatten()
    .copied()
    .collect()
}

fn cases() -> Vec<Case> {
    committed::all_rows().into_iter().filter(|row| row.is_computed()).map(Case::new).collect()
}

#[test]
fn every_computed_answer_holds_the_result_of_its_question() {
    let checks = checks();
    let cases = cases();
    assert!(!cases.is_empty());
    for case in &cases {
        // The longest name wins: "karvonen-by-age" before "karvonen".
        let formula = checks.keys().filter(|formula| case.is_of(formula)).max_by_key(|formula| formula.len());
        let formula = formula.unwrap_or_else(|| panic!("no recomputation for {}; add one", case.row.id));
        checks[formula](case);
    }
}

#[test]
fn every_equation_in_a_computed_answer_is_true() {
    let mut found = 0;
    for case in cases() {
        for equation in equations::equations(&case.row.answer) {
            assert!(equation.holds(), "{}: {equation} in {:?}", case.row.id, case.row.answer);
            found += 1;
        }
    }
    assert!(found > 500, "only {found} equations were recognised");
}

#[test]
fn refusals_are_marked_as_safety_and_plain_sums_are_not() {
    for case in cases() {
        let about_safety = safety::CHECKS.iter().any(|(formula, _)| case.is_of(formula)) || case.kind() == "pregnancy";
        assert_eq!(case.row.safety, about_safety, "{}", case.row.id);
    }
}
