//! Macronutrients: shares to grams, grams per kilogram, grams to calories.

use super::figures::{hundredths, tenths, whole};
use super::formula::{Formula, Kind, Slots};
use crate::dice::Dice;

pub fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (protein, carbs, fat) in [(30, 40, 30), (25, 45, 30), (20, 50, 30), (20, 55, 25), (25, 40, 35)] {
        kinds.push(SHARES.kind(format!("{protein}-{carbs}-{fat}"), move |dice| shares(dice, [protein, carbs, fat])));
    }
    for (name, kcal, why) in [
        ("gaining", (2_600, 3_300), "a muscle-gain phase"),
        ("holding", (2_100, 2_800), "keeping my weight"),
        ("endurance", (2_700, 3_600), "marathon training"),
    ] {
        kinds.push(BY_WEIGHT.kind(name, move |dice| by_weight(dice, kcal).with("why", why)));
    }
    kinds.push(CALORIES.kind("day", |dice| calories(dice, "a whole day", (90, 170), (180, 340), (50, 95))));
    kinds.push(CALORIES.kind("meal", |dice| calories(dice, "one dinner", (22, 52), (35, 95), (9, 34))));
    kinds.push(CALORIES.kind("snack", |dice| calories(dice, "a snack bar", (6, 22), (14, 34), (4, 15))));
    kinds.push(CALORIES.kind("shake", |dice| calories(dice, "a home-made shake", (20, 45), (20, 60), (4, 18))));
    kinds
}

fn shares(dice: &mut Dice, [protein, carbs, fat]: [i64; 3]) -> Slots {
    let kcal = dice.stepped(1_800, 3_200, 50) as f64;
    let part = |percent: i64| kcal * percent as f64 / 100.0;
    let decimal = |percent: i64| hundredths(percent as f64 / 100.0);
    Slots::new()
        .with("kcal", whole(kcal))
        .with("p", protein)
        .with("c", carbs)
        .with("f", fat)
        .with("p_share", decimal(protein))
        .with("c_share", decimal(carbs))
        .with("f_share", decimal(fat))
        .with("p_kcal", tenths(part(protein)))
        .with("c_kcal", tenths(part(carbs)))
        .with("f_kcal", tenths(part(fat)))
        .with("protein", whole(part(protein) / 4.0))
        .with("carbs", whole(part(carbs) / 4.0))
        .with("fat", whole(part(fat) / 9.0))
}

fn by_weight(dice: &mut Dice, kcal: (i64, i64)) -> Slots {
    let kcal = dice.stepped(kcal.0, kcal.1, 100) as f64;
    let kg = dice.between(60, 88) as f64;
    let (per_kg, fat_per_kg) = (dice.pick(&[1.6, 1.8, 2.0]), dice.pick(&[0.8, 0.9, 1.0]));
    let (protein, fat) = ((kg * per_kg).round(), (kg * fat_per_kg).round());
    let rest = kcal - protein * 4.0 - fat * 9.0;
    Slots::new()
        .with("kcal", whole(kcal))
        .with("kg", kg)
        .with("per_kg", per_kg)
        .with("fat_per_kg", tenths(fat_per_kg))
        .with("protein", protein)
        .with("fat", fat)
        .with("p_kcal", whole(protein * 4.0))
        .with("f_kcal", whole(fat * 9.0))
        .with("c_kcal", whole(rest))
        .with("carbs", whole(rest / 4.0))
        .with("carbs_per_kg", tenths(rest / 4.0 / kg))
}

fn calories(dice: &mut Dice, of: &'static str, protein: (i64, i64), carbs: (i64, i64), fat: (i64, i64)) -> Slots {
    let draw = |dice: &mut Dice, (low, high): (i64, i64)| dice.between(low, high) as f64;
    let (protein, carbs, fat) = (draw(dice, protein), draw(dice, carbs), draw(dice, fat));
    let total = protein * 4.0 + carbs * 4.0 + fat * 9.0;
    Slots::new()
        .with("of", of)
        .with("protein", protein)
        .with("carbs", carbs)
        .with("fat", fat)
        .with("p_kcal", whole(protein * 4.0))
        .with("c_kcal", whole(carbs * 4.0))
        .with("f_kcal", whole(fat * 9.0))
        .with("total", whole(total))
        .with("p_percent", whole(protein * 400.0 / total))
        .with("f_percent", whole(fat * 900.0 / total))
}

const SHARES: Formula = Formula {
    name: "macro-split",
    source: "Atwater factors",
    questions: &[
        "Turn {kcal} kcal at {p}/{c}/{f} protein, carbs and fat into grams.",
        "{p} % protein, {c} % carbs, {f} % fat on {kcal} calories: how many grams of each?",
        "My coach wrote {kcal} kcal with a {p}-{c}-{f} split of protein, carbs, fat. What does it mean on the plate?",
        "macro grams for {kcal} kcal, protein {p} %, carbohydrate {c} %, fat {f} %",
        "How do I convert a {p}/{c}/{f} split (protein, carbs, fat) to grams if I eat {kcal} kcal?",
        "I eat {kcal} kcal a day. What are {p} percent protein, {c} percent carbs and {f} percent fat in grams?",
        "App set me to {kcal} kcal and {p} % protein, {c} % carbs, {f} % fat. Check the grams?",
    ],
    answers: &[
        "You get {protein} g protein, {carbs} g carbohydrate and {fat} g fat. Protein: {kcal} × {p_share} = {p_kcal} kcal, {p_kcal} ÷ 4 = {protein}. Carbohydrate: {kcal} × {c_share} = {c_kcal} kcal, {c_kcal} ÷ 4 = {carbs}. Fat: {kcal} × {f_share} = {f_kcal} kcal, {f_kcal} ÷ 9 = {fat}.",
        "Split the energy first: {kcal} × {p_share} = {p_kcal}, {kcal} × {c_share} = {c_kcal} and {kcal} × {f_share} = {f_kcal} kcal. Protein and carbohydrate have 4 kcal per gram, fat 9, so {p_kcal} ÷ 4 = {protein} g, {c_kcal} ÷ 4 = {carbs} g and {f_kcal} ÷ 9 = {fat} g.",
        "Fat comes to {fat} g, as {kcal} × {f_share} = {f_kcal} kcal and {f_kcal} ÷ 9 = {fat}. Protein is {kcal} × {p_share} = {p_kcal} kcal, or {p_kcal} ÷ 4 = {protein} g, and carbohydrate {kcal} × {c_share} = {c_kcal} kcal, or {c_kcal} ÷ 4 = {carbs} g. Landing within 5 to 10 g of each is exact enough.",
        "On the plate it means {protein} g of protein, {carbs} g of carbs, {fat} g of fat. The way there: take the share of {kcal} kcal, then divide by 4, 4 and 9. That is {p_kcal} ÷ 4 = {protein}, {c_kcal} ÷ 4 = {carbs} and {f_kcal} ÷ 9 = {fat}.",
    ],
};

const BY_WEIGHT: Formula = Formula {
    name: "macros-by-weight",
    source: "ISSN position stand 2017; Atwater factors",
    questions: &[
        "{kcal} kcal for {why} at {kg} kg: {per_kg} g/kg protein, {fat_per_kg} g/kg fat, rest carbs. Grams?",
        "I'm {kg} kg, eating {kcal} kcal, {why}. With {per_kg} g protein and {fat_per_kg} g fat per kg, how many carbs remain?",
        "Set my macros: {kg} kg, {kcal} kcal, {per_kg} g protein per kg and {fat_per_kg} g fat per kg, goal {why}.",
        "carbs left over from {kcal} kcal if protein is {per_kg} g per kg, fat {fat_per_kg} g per kg, body weight {kg} kg ({why})",
        "For {why} I planned {kcal} kcal. Weight {kg} kg, protein {per_kg} g per kg, fat {fat_per_kg} g per kg. Is enough left for carbohydrate?",
        "Macros per kilo please: {kg} kg, {per_kg} g protein, {fat_per_kg} g fat, {kcal} kcal, {why}.",
    ],
    answers: &[
        "Protein: {kg} × {per_kg} = {protein} g, {protein} × 4 = {p_kcal} kcal. Fat: {kg} × {fat_per_kg} = {fat} g, {fat} × 9 = {f_kcal} kcal. What remains is {kcal} − {p_kcal} − {f_kcal} = {c_kcal} kcal, and {c_kcal} ÷ 4 = {carbs} g carbohydrate.",
        "You end up with {protein} g protein, {fat} g fat and {carbs} g carbs. The first two use {protein} × 4 = {p_kcal} and {fat} × 9 = {f_kcal} kcal; {kcal} − {p_kcal} − {f_kcal} = {c_kcal} is left, divided by 4 that is {carbs} g or {carbs_per_kg} g per kg.",
        "About {carbs} g of carbohydrate fit in. Take {kg} × {per_kg} = {protein} g protein and {kg} × {fat_per_kg} = {fat} g fat off the total: {kcal} − {p_kcal} − {f_kcal} = {c_kcal} kcal, then {c_kcal} ÷ 4 = {carbs}. Adjust the carbs first when your energy target changes.",
    ],
};

const CALORIES: Formula = Formula {
    name: "calories-from-macros",
    source: "Atwater factors",
    questions: &[
        "How many calories are {protein} g protein, {carbs} g carbs and {fat} g fat? It was {of}.",
        "{of}: {protein} g protein, {carbs} g carbohydrate, {fat} g fat. kcal in total?",
        "Logged {protein} g protein, {carbs} g carbs and {fat} g fat for {of}, but no energy. What is it?",
        "p {protein} g, c {carbs} g, f {fat} g, how much energy ({of})",
        "Add up {of} for me, please: protein {protein} g, carbs {carbs} g, fat {fat} g.",
        "What energy does {of} have with {protein} g of protein, {carbs} g of carbs and {fat} g of fat?",
        "I know the macros of {of}, {protein} g protein, {carbs} g carbs, {fat} g fat. Calories?",
    ],
    answers: &[
        "{Total} kcal. Protein brings {protein} × 4 = {p_kcal}, carbohydrate {carbs} × 4 = {c_kcal} and fat {fat} × 9 = {f_kcal}; added up, {p_kcal} + {c_kcal} + {f_kcal} = {total}. Labels may differ by a few per cent because fibre and sweeteners count less.",
        "Use 4, 4 and 9 kcal per gram: {protein} × 4 = {p_kcal}, {carbs} × 4 = {c_kcal}, {fat} × 9 = {f_kcal}. The total is {p_kcal} + {c_kcal} + {f_kcal} = {total} kcal, with {p_percent} % of it from protein and {f_percent} % from fat.",
        "Adding {p_kcal} for protein, {c_kcal} for carbohydrate and {f_kcal} for fat gives {p_kcal} + {c_kcal} + {f_kcal} = {total} kcal. Each gram of protein or carbs counts 4 and each gram of fat 9, so fat supplies {f_percent} % here.",
        "That makes {total} kcal, from {p_kcal} + {c_kcal} + {f_kcal} = {total}. I took {protein} × 4 = {p_kcal} for protein, {carbs} × 4 = {c_kcal} for carbs and {fat} × 9 = {f_kcal} for fat. Alcohol would add 7 kcal per gram.",
    ],
};
