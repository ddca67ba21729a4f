//! Protein a day and a meal.

use super::figures::{tenths, whole};
use super::formula::{Formula, Kind, Slots};

pub fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (name, low, high, whom, why) in [
        ("muscle", 1.6, 2.2, "I lift weights to build muscle", "for building muscle"),
        ("endurance", 1.2, 1.6, "I run and cycle a lot", "for regular endurance training"),
        ("not-training", 0.8, 1.0, "I'm a healthy adult without any sport", "for healthy adults who don't train"),
        ("over-65", 1.0, 1.2, "I'm over sixty-five and healthy", "for healthy people over 65"),
        (
            "regular-exercise",
            1.4,
            2.0,
            "I train a few times a week, a bit of everything",
            "for most people who exercise",
        ),
    ] {
        kinds.push(PER_KILO.kind(name, move |dice| {
            let kg = dice.between(54, 98) as f64;
            let meals = dice.pick(&[3.0, 4.0]);
            let (least, most) = ((kg * low).round(), (kg * high).round());
            Slots::new()
                .with("whom", whom)
                .with("why", why)
                .with("kg", kg)
                .with("low", low)
                .with("high", high)
                .with("least", whole(least))
                .with("most", whole(most))
                .with("least_kcal", whole(least * 4.0))
                .with("meals", meals)
                .with("meal", whole(least / meals))
        }));
    }
    kinds.push(POUNDS.only_kind(|dice| {
        let pounds = dice.stepped(125, 220, 5) as f64;
        let kg = (pounds / 2.205).round();
        let slots = Slots::new().with("lb", pounds).with("kg", kg);
        slots.with("least", whole(kg * 1.6)).with("most", whole(kg * 2.2)).with("shortcut", whole(pounds * 0.7))
    }));
    for meals in [3.0, 4.0, 5.0] {
        kinds.push(PER_MEAL.kind(format!("{meals}-meals"), move |dice| {
            let kg = dice.between(56, 96) as f64;
            let grams = dice.stepped(100, 170, 5) as f64;
            Slots::new()
                .with("kg", kg)
                .with("grams", grams)
                .with("meals", meals)
                .with("meal", tenths(grams / meals))
                .with("quarter", tenths(kg * 0.25))
                .with("largest", tenths(kg * 0.4))
        }));
    }
    kinds
}

const PER_KILO: Formula = Formula {
    name: "protein-per-kilo",
    source: "ISSN position stand 2017; Morton et al. 2018; PROT-AGE 2013; IOM 2005",
    questions: &[
        "{Whom} and weigh {kg} kg. How much protein a day?",
        "{kg} kg, {whom}. grams of protein?",
        "How many grams of protein should someone like me eat: {whom}, {kg} kg?",
        "protein target at {kg} kilos? {whom}",
        "{Whom}. At {kg} kg, what does the per-kilo rule give me?",
        "Daily protein for {kg} kg please, {whom}.",
        "Is there a sensible protein range for {kg} kg? {Whom}, {meals} meals a day.",
        "My weight is {kg} kg and {whom}; what do I aim for in protein?",
        "I keep reading different protein numbers. {Whom}, scale says {kg} kg. Mine?",
    ],
    answers: &[
        "Aim for {least} to {most} g a day. The usual range {why} is {low} to {high} g per kg: {kg} × {low} = {least} and {kg} × {high} = {most}. Spread over {meals} meals, the lower figure means about {meal} g each time.",
        "Multiply your weight by {low} to {high} g, the range {why}. That gives {kg} × {low} = {least} g as a floor and {kg} × {high} = {most} g as an upper target. Going past it is rarely harmful with healthy kidneys, but it hardly helps either.",
        "About {least} g will do, {most} g at most. {Why}, {low} to {high} g per kg is advised, and {kg} × {low} = {least} while {kg} × {high} = {most}. The lower end alone brings {least} × 4 = {least_kcal} kcal of your daily energy.",
        "{Why} the advice is {low} to {high} g per kilogram, so {kg} × {low} = {least} g up to {kg} × {high} = {most} g. Pick a number you can reach with ordinary food on most days; the weekly average counts.",
        "The sums are short: {kg} × {low} = {least} g and {kg} × {high} = {most} g, because {low} to {high} g per kg is recommended {why}. With {meals} meals, {least} ÷ {meals} = {meal} g per meal gets you to the lower end.",
    ],
};

const POUNDS: Formula = Formula {
    name: "protein-from-pounds",
    source: "Morton et al. 2018",
    questions: &[
        "I weigh {lb} lb and lift. How much protein per day for muscle?",
        "{lb} pounds, strength training, protein in grams?",
        "All the advice is per kilo but I think in pounds. {lb} lb, building muscle, protein?",
        "Muscle gain at {lb} lb: daily protein?",
        "How do I turn {lb} lb body weight into a protein target for growing muscle?",
    ],
    answers: &[
        "Around {least} to {most} g. First {lb} ÷ 2.205 = {kg} kg, then {kg} × 1.6 = {least} and {kg} × 2.2 = {most}. The common gym rule of one gram per pound lies at the top of that range, and most of the benefit comes at the lower end.",
        "Convert first: {lb} ÷ 2.205 = {kg} kg. Lifters do well on 1.6 to 2.2 g per kg, so {kg} × 1.6 = {least} g to {kg} × 2.2 = {most} g a day. As a shortcut, {lb} × 0.7 = {shortcut} g lands near the lower end.",
    ],
};

const PER_MEAL: Formula = Formula {
    name: "protein-per-meal",
    source: "ISSN position stand on protein and exercise, 2017",
    questions: &[
        "My target is {grams} g of protein in {meals} meals at {kg} kg body weight. How much each?",
        "{grams} g protein a day, {meals} meals, {kg} kg. per meal?",
        "Split {grams} g protein over {meals} meals for me, I'm {kg} kg. Is it too much at once?",
        "If I eat {meals} times a day and want {grams} g of protein, what goes on each plate? Weight {kg} kg.",
        "At {kg} kg, do {meals} meals a day work for {grams} g of protein?",
        "protein per sitting for {kg} kg: {meals} meals, {grams} g in all",
        "{Meals} meals, {grams} g of protein, {kg} kg of me. Portions?",
    ],
    answers: &[
        "Each meal needs about {meal} g, because {grams} ÷ {meals} = {meal}. A useful portion for muscle is 0.25 to 0.4 g per kg, for you {kg} × 0.25 = {quarter} to {kg} × 0.4 = {largest} g. More than that in one go isn't wasted, the body just uses it more slowly.",
        "Divide: {grams} ÷ {meals} = {meal} g a meal. Compared with 0.25 g per kg, which is {kg} × 0.25 = {quarter} g, that is plenty to stimulate muscle each time. Small differences between meals don't matter while the daily sum is right.",
        "{Grams} ÷ {meals} = {meal} g on each plate. The suggested dose per meal runs from {kg} × 0.25 = {quarter} to {kg} × 0.4 = {largest} g at your weight. Protein above it still counts towards the day.",
        "On average {meal} g, from {grams} ÷ {meals} = {meal}. You can shift some of it, say less at breakfast and more at dinner, as long as most meals reach {quarter} g, the figure from {kg} × 0.25 = {quarter}.",
    ],
};
