//! Maximum heart rate by age, and training zones by Karvonen.

use super::figures::{tenths, whole};
use super::formula::{Formula, Kind, Slots};
use crate::dice::Dice;

pub fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (name, low, high) in [("20s", 20, 29), ("30s", 30, 39), ("40s", 40, 49), ("50s", 50, 59), ("60s", 60, 69)] {
        kinds.push(MAXIMUM.kind(name, move |dice| maximum(dice.between(low, high) as f64)));
    }
    for (name, low, high, effort) in
        [("easy", 50, 60, "easy"), ("steady", 60, 70, "steady"), ("brisk", 70, 80, "brisk"), ("hard", 80, 90, "hard")]
    {
        kinds.push(KARVONEN.kind(name, move |dice| {
            let slots = Slots::new().with("effort", effort);
            zone(slots, dice.between(168, 198) as f64, (low, high), dice)
        }));
        kinds.push(KARVONEN_BY_AGE.kind(name, move |dice| {
            let age = dice.between(22, 62) as f64;
            let slots = maximum(age).with("effort", effort);
            zone(slots, tanaka(age).round(), (low, high), dice)
        }));
    }
    kinds
}

/// Beats a minute. Tanaka et al. 2001.
fn tanaka(age: f64) -> f64 {
    208.0 - 0.7 * age
}

fn maximum(age: f64) -> Slots {
    Slots::new()
        .with("age", age)
        .with("by_age", tenths(0.7 * age))
        .with("exact", tenths(tanaka(age)))
        .with("estimate", whole(tanaka(age)))
        .with("old_rule", whole(220.0 - age))
}

fn zone(slots: Slots, max: f64, (low, high): (i64, i64), dice: &mut Dice) -> Slots {
    let rest = dice.between(46, 72) as f64;
    let part = |percent: i64| ((max - rest) * percent as f64 / 100.0).round();
    slots
        .with("max", max)
        .with("rest", rest)
        .with("reserve", max - rest)
        .with("low", low)
        .with("high", high)
        .with("low_share", tenths(low as f64 / 100.0))
        .with("high_share", tenths(high as f64 / 100.0))
        .with("low_part", part(low))
        .with("high_part", part(high))
        .with("from", rest + part(low))
        .with("to", rest + part(high))
}

const MAXIMUM: Formula = Formula {
    name: "maximum-heart-rate",
    source: "Tanaka et al. 2001",
    questions: &[
        "What's my maximum heart rate at {age}?",
        "max hr age {age}",
        "I'm {age}. Which top pulse should I set in my watch?",
        "How high may my heart rate go in an all-out effort? I'm {age} years old.",
        "estimate of maximum pulse for a {age}-year-old, newer formula please",
        "Is 220 minus age right for me at {age} or is there something better?",
        "My treadmill wants a maximum heart rate and I've never measured it. Age {age}.",
        "At {age}, what does 208 minus 0.7 times age give?",
    ],
    answers: &[
        "Roughly {estimate} beats a minute. Tanaka's formula takes 0.7 × {age} = {by_age} and 208 − {by_age} = {exact}. Individuals differ by about 10 beats either way, so correct it if you see a higher value in a hard finish.",
        "Set {estimate} for now: 0.7 × {age} = {by_age}, then 208 − {by_age} = {exact}. The older rule, 220 − {age} = {old_rule}, is simpler and errs more at both ends of life.",
        "Two formulas are common. 220 − {age} = {old_rule}, and by Tanaka 0.7 × {age} = {by_age}, 208 − {by_age} = {exact}. I would use {estimate}, remembering that it is an average of many people and not a limit for you.",
        "Statistically {estimate}, because 208 − {by_age} = {exact}, where 0.7 × {age} = {by_age}. People with heart medicines such as beta-blockers can't use it. For everybody else the talk test is a good cross-check.",
        "An average person of {age} reaches about {estimate} beats, from 0.7 × {age} = {by_age} and 208 − {by_age} = {exact}. Being 10 above or below is normal, says nothing about fitness, and is a good reason to treat zones loosely.",
    ],
};

const KARVONEN: Formula = Formula {
    name: "karvonen",
    source: "Karvonen et al. 1957",
    questions: &[
        "Resting pulse {rest}, maximum {max}. What's my zone for {effort} running at {low} to {high} %?",
        "karvonen {low}-{high} % with max {max} and rest {rest}",
        "How do I get my {effort} training range of {low} to {high} percent from a max of {max} and a resting pulse of {rest}?",
        "My max is {max}, I wake up with {rest}. Beats for {low} to {high} % of reserve?",
        "heart rate reserve method please: rest {rest}, max {max}, {effort} effort, {low} to {high} percent",
        "For my {effort} ride the plan says {low} to {high} % heart rate reserve. Max {max}, rest {rest}?",
        "Between which pulse values is {low} to {high} % by Karvonen? ({max} max, {rest} at rest)",
    ],
    answers: &[
        "Your {effort} zone is {from} to {to} beats. Reserve: {max} − {rest} = {reserve}. Then {reserve} × {low_share} = {low_part} and {reserve} × {high_share} = {high_part}; adding the resting pulse, {low_part} + {rest} = {from} and {high_part} + {rest} = {to}.",
        "Start from the reserve, {max} − {rest} = {reserve} beats. Take {low} and {high} % of it, {reserve} × {low_share} = {low_part} and {reserve} × {high_share} = {high_part}, and put the {rest} back on top: {from} to {to} bpm.",
        "Between {from} and {to}. Karvonen works on what lies between rest and maximum, {max} − {rest} = {reserve}, so the limits are {low_part} + {rest} = {from} and {high_part} + {rest} = {to}. Heat, coffee and poor sleep shift the pulse by several beats.",
        "The range is {from} to {to} bpm, because {reserve} × {low_share} = {low_part}, {low_part} + {rest} = {from}, and {reserve} × {high_share} = {high_part}, {high_part} + {rest} = {to}. The reserve of {reserve} is maximum minus rest. Check it by how your breathing feels.",
    ],
};

const KARVONEN_BY_AGE: Formula = Formula {
    name: "karvonen-by-age",
    source: "Karvonen et al. 1957; Tanaka et al. 2001",
    questions: &[
        "I'm {age} with a resting pulse of {rest}. Which heart rate is {low} to {high} % by Karvonen?",
        "age {age}, rest {rest}, {effort} zone {low}-{high} %?",
        "Work out my {effort} zone, {low} to {high} percent of reserve. {Age} years old, {rest} beats at rest, max unknown.",
        "Nobody ever measured my max. At {age} and {rest} bpm resting, where is {low} to {high} %?",
        "{Effort} training at {low} to {high} % of heart rate reserve: what pulse at age {age} if rest is {rest}?",
        "Target pulse for {low} to {high} percent, please. I am {age}, morning pulse {rest}.",
        "How fast should my heart beat in {effort} sessions ({low} to {high} % reserve)? {age} years, resting {rest}.",
    ],
    answers: &[
        "About {from} to {to} bpm. Estimated maximum: 208 − {by_age} = {exact}, say {max}, with 0.7 × {age} = {by_age}. Reserve: {max} − {rest} = {reserve}. Limits: {low_part} + {rest} = {from} and {high_part} + {rest} = {to}.",
        "First the maximum by Tanaka, 0.7 × {age} = {by_age} and 208 − {by_age} = {exact}. The reserve is {max} − {rest} = {reserve}; {reserve} × {low_share} = {low_part} and {reserve} × {high_share} = {high_part}. With {rest} added, your {effort} zone spans {from} to {to}.",
        "Your {effort} range is {from} to {to}, if your maximum is the average {max} for {age}. The reserve {max} − {rest} = {reserve} gives {reserve} × {low_share} = {low_part} and {reserve} × {high_share} = {high_part}, each plus {rest}. The maximum may be 10 beats off, so trust your breathing too.",
        "Take {max} as maximum (208 − {by_age} = {exact}). Then {max} − {rest} = {reserve}, {reserve} × {low_share} = {low_part}, {reserve} × {high_share} = {high_part}, and {low_part} + {rest} = {from} to {high_part} + {rest} = {to} is your range. On heart medicines such as beta-blockers this estimate doesn't apply.",
    ],
};
