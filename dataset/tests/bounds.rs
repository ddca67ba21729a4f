//! Each bound refuses a hand-broken dataset, and says where and what.

mod committed;

use fitness_dataset::checker;
use fitness_dataset::row::Row;
use fitness_dataset::splits::{Sizes, Splits};

/// Breaks the committed files and returns what the checker has to say.
fn refusals(break_it: impl Fn(&mut Splits)) -> String {
    let mut splits = committed::splits();
    break_it(&mut splits);
    checker::check(&splits).refusals.join("\n")
}

/// Every row of every split.
fn each(splits: &mut Splits) -> impl Iterator<Item = &mut Row> {
    splits.train.iter_mut().chain(&mut splits.val).chain(&mut splits.test)
}

#[track_caller]
fn assert_says(refusals: &str, parts: &[&str]) {
    for part in parts {
        assert!(refusals.contains(part), "{part:?} is missing from:\n{refusals}");
    }
}

#[test]
fn nine_rows_of_a_group_are_refused() {
    let message = refusals(|splits| splits.train[..9].iter_mut().for_each(|row| row.group = "foods/oats-again".into()));
    assert_says(&message, &["qa_fitness_nutrition_train.jsonl:9 (", "group foods/oats-again has 9 rows, at most 8"]);
}

#[test]
fn too_many_calculations_are_refused() {
    let message = refusals(|splits| each(splits).step_by(5).for_each(|row| row.topic = "calculations".into()));
    assert_says(&message, &["topic calculations: ", "at most 15 %"]);
}

#[test]
fn too_few_verbatim_rows_are_refused() {
    let message = refusals(|splits| {
        each(splits).step_by(6).enumerate().for_each(|(n, row)| row.group = format!("calculations/computed-x-{n}"));
    });
    assert_says(&message, &["verbatim rows: ", "at least 85 %"]);
}

#[test]
fn repeated_answers_are_refused() {
    let message = refusals(|splits| {
        let answer = splits.train[0].answer.clone();
        each(splits).step_by(15).for_each(|row| row.answer = answer.clone());
    });
    assert_says(&message, &["unique answers: ", "at least 95 %"]);
}

#[test]
fn one_opening_on_many_answers_is_refused() {
    let message = refusals(|splits| {
        each(splits).step_by(40).for_each(|row| row.answer = format!("It depends on you. {}", row.answer));
    });
    assert_says(&message, &["answers that open with \"it depends on you\"", "at most 2 %"]);
}

#[test]
fn short_answers_on_the_whole_are_refused() {
    let message = refusals(|splits| {
        for row in each(splits) {
            row.answer = row.answer.split_whitespace().take(20).collect::<Vec<_>>().join(" ");
        }
    });
    assert_says(&message, &["the median answer has 20 words, at least 25"]);
}

#[test]
fn a_very_short_and_a_very_long_answer_are_refused() {
    let message = refusals(|splits| {
        splits.val[0].answer = "Yes, it is.".into();
        splits.test[1].answer = "word ".repeat(121);
    });
    assert_says(&message, &["val.jsonl:1 (", "the answer has 3 words, 15 to 120"]);
    assert_says(&message, &["test.jsonl:2 (", "the answer has 121 words, 15 to 120"]);
}

#[test]
fn seven_sentences_are_reported_and_not_refused() {
    let mut splits = committed::splits();
    splits.train[4].answer = "One two three four. ".repeat(7).trim_end().to_string();
    let report = checker::check(&splits);
    assert!(report.refusals.is_empty(), "{:?}", report.refusals);
    assert_says(&report.warnings.join("\n"), &["train.jsonl:5 (", "the answer has 7 sentences, 1 to 6"]);
}

#[test]
fn sixteen_answers_of_one_frame_are_refused() {
    let message = refusals(|splits| {
        for (index, row) in splits.train.iter_mut().step_by(3).take(16).enumerate() {
            let lift = ["squat", "bench press"][index % 2];
            row.answer =
                format!("Your {lift} is {index}.5 kg by the usual formula, so start the next block of training there.");
        }
    });
    assert_says(&message, &["train.jsonl:46 (", "16 answers share the frame \"your @ is # kg", "at most 15"]);
}

#[test]
fn the_same_question_in_other_punctuation_is_refused() {
    let message = refusals(|splits| splits.train[3].question = splits.train[8].question.to_uppercase() + "?!");
    assert_says(&message, &["train.jsonl:9 (", "the question is that of qa_fitness_nutrition_train.jsonl:4 ("]);
}

#[test]
fn nearly_the_same_question_in_two_splits_is_refused() {
    let message = refusals(|splits| {
        splits.train[0].question = "How much protein should a runner of 60 kg eat in a day of hard training?".into();
        splits.val[0].question = "How much protein should a runner of 60 kg eat in a day of easy training?".into();
    });
    assert_says(&message, &["val.jsonl:1 (", "too near to that of qa_fitness_nutrition_train.jsonl:1 (", "below 0.6"]);
}

#[test]
fn many_near_questions_within_train_are_refused() {
    let message = refusals(|splits| {
        for (index, row) in splits.train.iter_mut().step_by(50).enumerate() {
            row.question =
                format!("How many grams of protein does a runner who weighs exactly this much need {index}?");
        }
    });
    assert_says(
        &message,
        &["train.jsonl: questions at a similarity of 0.6 or more: ", "at most 1 %", "first lines 1, 51"],
    );
}

#[test]
fn too_little_safety_is_refused() {
    let message = refusals(|splits| each(splits).for_each(|row| row.safety &= row.id.ends_with('1')));
    assert_says(&message, &["safety: ", "at least 6 %"]);
}

#[test]
fn too_much_off_domain_is_refused() {
    let message = refusals(|splits| each(splits).step_by(30).for_each(|row| row.topic = "off_domain".into()));
    assert_says(&message, &["topic off_domain: ", "1 to 2 %"]);
}

#[test]
fn too_little_off_domain_is_a_warning_while_the_dataset_is_small() {
    let mut splits = committed::splits();
    splits.train.retain(|row| row.topic != "off_domain");
    let report = checker::check(&splits);
    assert_says(&report.warnings.join("\n"), &["topic off_domain: ", "1 to 2 %"]);
    assert!(!report.refusals.join("\n").contains("off_domain: "));
}

#[test]
fn too_little_off_domain_is_refused_once_the_dataset_is_full() {
    let message = refusals(|splits| {
        each(splits).filter(|row| row.topic == "off_domain").for_each(|row| row.topic = "sleep".into());
        let missing = Sizes::FULL.total().saturating_sub(splits.total());
        splits.train.extend_from_within(..missing);
    });
    assert_says(&message, &["topic off_domain: 0 of ", "1 to 2 %"]);
}

#[test]
fn an_id_twice_is_refused() {
    let message = refusals(|splits| splits.test[2].id = splits.train[6].id.clone());
    assert_says(&message, &["test.jsonl:3 (", "the id is also at qa_fitness_nutrition_train.jsonl:7"]);
}

#[test]
fn a_wrong_seen_in_train_is_refused() {
    let message = refusals(|splits| splits.val[0].seen_in_train = !splits.val[0].seen_in_train);
    assert_says(&message, &["val.jsonl:1 (", "seen_in_train is "]);
}

#[test]
fn an_empty_dataset_is_refused() {
    assert_says(&refusals(|splits| *splits = Splits::default()), &["all three files are empty"]);
}
