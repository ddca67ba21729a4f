//! One-repetition maximum by Epley, and the loads that follow from it.

use super::figures::{hundredths, rounded_to, tenths, thousandths};
use super::formula::{Formula, Kind, Slots};

const LIFTS: [(&str, &str, (i64, i64)); 8] = [
    ("back-squat", "back squat", (100, 280)),
    ("bench-press", "bench press", (80, 220)),
    ("deadlift", "deadlift", (140, 360)),
    ("overhead-press", "overhead press", (50, 120)),
    ("barbell-row", "barbell row", (80, 180)),
    ("front-squat", "front squat", (90, 220)),
    ("hip-thrust", "hip thrust", (120, 320)),
    ("leg-press", "leg press", (200, 480)),
];

pub fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (name, lift, half_kilos) in LIFTS {
        kinds.push(EPLEY.kind(name, move |dice| {
            // Bars are loaded in steps of 2.5 kg.
            let kg = dice.stepped(half_kilos.0, half_kilos.1, 5) as f64 / 2.0;
            let reps = dice.between(3, 10) as f64;
            let max = kg * (1.0 + reps / 30.0);
            Slots::new()
                .with("lift", lift)
                .with("kg", tenths(kg))
                .with("reps", reps)
                .with("part", thousandths(reps / 30.0))
                .with("factor", thousandths(1.0 + reps / 30.0))
                .with("max", tenths(max))
                .with("added", tenths(max - kg))
                .with("careful", bar(max * 0.95))
        }));
    }
    for (name, percent, goal, reps) in [
        ("power", 60, "speed work", "three"),
        ("muscle", 70, "sets of ten", "ten"),
        ("strength", 80, "heavy fives", "five"),
        ("heavy", 85, "triples", "three"),
        ("peak", 90, "heavy doubles", "two"),
    ] {
        kinds.push(LOADS.kind(name, move |dice| {
            let (_, lift, (low, high)) = dice.pick(&LIFTS[..7]); // a leg press has no bar
            let max = dice.stepped(low + 10, high + 30, 5) as f64 / 2.0;
            let load = max * percent as f64 / 100.0;
            Slots::new()
                .with("lift", lift)
                .with("max", tenths(max))
                .with("percent", percent)
                .with("share", hundredths(percent as f64 / 100.0))
                .with("load", hundredths(load))
                .with("bar", bar(load))
                .with("goal", goal)
                .with("reps", reps)
        }));
    }
    kinds
}

/// What plates allow: the nearest 2.5 kg.
fn bar(kg: f64) -> String {
    tenths(rounded_to(2.5, kg))
}

const EPLEY: Formula = Formula {
    name: "epley",
    source: "Epley 1985",
    questions: &[
        "I did {reps} reps with {kg} kg on the {lift}. What's my one-rep max?",
        "{lift} {kg} kg x {reps}, 1rm?",
        "Estimate my max {lift}: {kg} kg for {reps} clean repetitions.",
        "If {kg} kg goes up {reps} times in the {lift}, what could I lift once?",
        "My best {lift} set was {reps} reps at {kg} kg. Epley estimate?",
        "{Reps} repetitions, {kg} kg, {lift}. How much is that as a single?",
        "use epley on a {lift} of {kg} kilos for {reps} reps please",
        "How strong am I in the {lift} if I managed {kg} kg {reps} times?",
        "Without testing it, what would my {lift} max be? Last week: {kg} kg for {reps} reps.",
        "Training log says {lift}, {kg} kg, {reps} reps, nothing left in the tank. Calculated maximum?",
    ],
    answers: &[
        "About {max} kg. Epley's formula is weight × (1 + reps ÷ 30): {reps} ÷ 30 = {part}, plus 1 is {factor}, and {kg} × {factor} = {max}. Such estimates miss by 5 % or more, so base your plan on {careful} kg.",
        "Epley puts your {lift} at {max} kg. Divide the repetitions by 30, {reps} ÷ 30 = {part}, add 1 and multiply: {kg} × {factor} = {max}. The fewer reps in the set, the closer the estimate.",
        "The set corresponds to a single of roughly {max} kg, because {kg} × {factor} = {max} and the factor is 1 + {reps} ÷ 30. A real attempt also needs practice with heavy weights and a spotter or safety bars.",
        "By the sum {kg} × {factor} = {max}, your calculated {lift} is {max} kg, which is {added} kg above the weight you used. It assumes that the last rep was close to the limit; with two reps left over, the true value lies higher.",
        "One repetition should go at around {max} kg. Steps: {reps} ÷ 30 = {part}; 1 + {part} = {factor}; {kg} × {factor} = {max}. For percentages in a programme, take a careful {careful} kg and let the sessions correct it.",
        "Your {lift} max comes out at {max} kg with Epley, since {kg} × {factor} = {max}. Above ten repetitions the formula gets unreliable, but a set of {reps} is within its range. Recalculate every six to eight weeks instead of testing.",
    ],
};

const LOADS: Formula = Formula {
    name: "percent-of-max",
    source: "NSCA load chart",
    questions: &[
        "My {lift} max is {max} kg. What's {percent} % of it for {goal}?",
        "{percent} % of {max} kg {lift}?",
        "Programme says {percent} % for {goal}, my {lift} 1RM is {max} kg. Which plates?",
        "How heavy are {goal} at {percent} percent of a {max} kg {lift}?",
        "work weight: {lift}, max {max} kg, {percent} %",
        "I want to do {goal} in the {lift}. 1RM {max} kg, prescribed {percent} %. Load?",
        "What do I put on the bar for {percent} % when my best {lift} is {max} kg?",
    ],
    answers: &[
        "Load {bar} kg. {Max} × {share} = {load}, and gym plates allow steps of 2.5 kg, so round to the nearest. {Reps} clean repetitions should leave something in reserve at that weight.",
        "{Percent} % is {load} kg: {max} × {share} = {load}. In practice put {bar} kg on the bar and judge by feel; on a tired day five kilos less do no harm.",
        "For {goal} take {max} × {share} = {load}, rounded to {bar} kg. If the maximum is only an estimate, begin one step lower and add weight once {reps} repetitions move well.",
        "The sum is {max} × {share} = {load} kg, so use {bar} kg. Percentages of a maximum drift as you get stronger or tired, which is why many lifters combine them with repetitions in reserve.",
    ],
};
