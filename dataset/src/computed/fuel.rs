//! Carbohydrate for sport, and the upper limits for sugar and saturated fat.

use super::figures::{hundredths, tenths, whole};
use super::formula::{Formula, Kind, Slots};

pub fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (name, low, high, load) in [
        ("light", 3.0, 5.0, "a light training day"),
        ("moderate", 5.0, 7.0, "a day with about an hour of moderate training"),
        ("hard", 6.0, 10.0, "a day with two to three hours of training"),
    ] {
        kinds.push(DAILY_CARBS.kind(name, move |dice| {
            let kg = dice.between(52, 88) as f64;
            Slots::new()
                .with("kg", kg)
                .with("load", load)
                .with("low", low)
                .with("high", high)
                .with("least", whole(kg * low))
                .with("most", whole(kg * high))
                .with("least_kcal", whole(kg * low * 4.0))
        }));
    }
    for (name, low, high, sport, minutes) in [
        ("long-run", 30.0, 60.0, "a hard run", (75, 150)),
        ("bike-race", 30.0, 60.0, "a bike race", (90, 150)),
        ("very-long-ride", 60.0, 90.0, "a long ride", (165, 330)),
    ] {
        kinds.push(CARBS_UNDERWAY.kind(name, move |dice| {
            let minutes = dice.stepped(minutes.0, minutes.1, 15) as f64;
            let hours = minutes / 60.0;
            Slots::new()
                .with("sport", sport)
                .with("minutes", minutes)
                .with("hours", hundredths(hours))
                .with("low", low)
                .with("high", high)
                .with("least", whole(hours * low))
                .with("most", whole(hours * high))
                .with("gels", tenths((hours * low).round() / 25.0))
        }));
    }
    for (name, what, kcal_per_gram, hint) in [
        ("free-sugars", "free sugars", 4.0, "Sugar in whole fruit and plain milk isn't counted, honey and juice are."),
        (
            "saturated-fat",
            "saturated fat",
            9.0,
            "Oils, nuts and oily fish in place of butter and fatty meat get you there.",
        ),
    ] {
        kinds.push(LIMIT.kind(name, move |dice| {
            let kcal = dice.stepped(1_700, 3_100, 50) as f64;
            Slots::new()
                .with("what", what)
                .with("kcal", whole(kcal))
                .with("tenth", whole(kcal * 0.1))
                .with("per_gram", kcal_per_gram)
                .with("grams", whole(kcal * 0.1 / kcal_per_gram))
                .with("hint", hint)
        }));
    }
    kinds
}

const DAILY_CARBS: Formula = Formula {
    name: "carbs-for-training-days",
    source: "ACSM, Academy of Nutrition and Dietetics and Dietitians of Canada, 2016",
    questions: &[
        "How many grams of carbohydrate for {load} at {kg} kg?",
        "{kg} kg athlete, {load}: carbs?",
        "I weigh {kg} kg and tomorrow is {load}. How much carbohydrate should I eat?",
        "carb target {kg} kg, {load}",
        "Carbohydrate per day in grams, please. {Load}, body weight {kg} kg.",
        "My body weight is {kg} kg. What range of carbs suits {load}?",
        "For {load}, is there a per-kilo rule for carbs? I'm {kg} kg.",
    ],
    answers: &[
        "Between {least} and {most} g. For {load} the sports guideline names {low} to {high} g per kg, and {kg} × {low} = {least} while {kg} × {high} = {most}. Stay near the lower end unless you feel flat in training.",
        "The range for {load} is {low} to {high} g per kg body weight. At your weight that is {kg} × {low} = {least} g up to {kg} × {high} = {most} g, and the lower figure already brings {least_kcal} kcal. Rice, potatoes, oats, bread and fruit do the job.",
        "Plan {least} g at least and {most} g at most: {kg} × {low} = {least}, {kg} × {high} = {most}. These {low} to {high} g per kg are meant for {load}; on other days eat according to what you do.",
    ],
};

const CARBS_UNDERWAY: Formula = Formula {
    name: "carbs-underway",
    source: "Jeukendrup 2014; ACSM joint position 2016",
    questions: &[
        "What amount of carbs should I take during {sport} of {minutes} minutes?",
        "{sport}, {minutes} min. carbs to carry?",
        "How much carbohydrate do I need to pack for {sport} that lasts {minutes} minutes?",
        "I expect {sport} of {minutes} minutes on Sunday. Grams of carbs on the way?",
        "Fuel plan: {sport}, {minutes} minutes, how many grams and gels?",
        "Sugar on the go for {minutes} minutes of {sport}, what's the sum?",
    ],
    answers: &[
        "Take {least} to {most} g with you. The advice for that length is {low} to {high} g an hour, the time is {minutes} ÷ 60 = {hours} hours, so {hours} × {low} = {least} and {hours} × {high} = {most}. Try the amount in training before you race on it.",
        "With {minutes} ÷ 60 = {hours} hours and {low} to {high} g per hour you need {hours} × {low} = {least} g to {hours} × {high} = {most} g. At 25 g a gel the lower end is {least} ÷ 25 = {gels} gels, or the same in drink and bananas.",
        "About {least} g is the floor: {hours} × {low} = {least}, as you are out for {hours} hours. The upper figure, {hours} × {high} = {most} g, needs a gut that has practised. Above 60 g an hour mix glucose with fructose.",
    ],
};

const LIMIT: Formula = Formula {
    name: "tenth-of-energy",
    source: "WHO guideline on sugars, 2015; WHO guideline on saturated and trans fat, 2023",
    questions: &[
        "I eat {kcal} kcal a day. How many grams of {what} is the upper limit?",
        "max {what} at {kcal} kcal?",
        "WHO says at most 10 % of energy from {what}. What's that in grams on {kcal} kcal?",
        "How much {what} may {kcal} kcal a day contain?",
        "Convert ten percent of {kcal} kcal into grams of {what} for me.",
        "For someone on {kcal} kcal, where does the limit for {what} lie?",
        "Daily {what} limit in grams if my intake is {kcal} kcal?",
    ],
    answers: &[
        "At most {grams} g. Ten percent of your energy is {kcal} × 0.1 = {tenth} kcal, and at {per_gram} kcal per gram, {tenth} ÷ {per_gram} = {grams}. {Hint}",
        "The limit of 10 % means {kcal} × 0.1 = {tenth} kcal from {what}. Divide by {per_gram} kcal per gram: {tenth} ÷ {per_gram} = {grams} g a day. {Hint}",
        "Too much begins at about {grams} g, since {kcal} × 0.1 = {tenth} and {tenth} ÷ {per_gram} = {grams}. It is an average over days, so a single celebration matters little. {Hint}",
    ],
};
