//! Sums of the gym, the kitchen and the shop: one group each, and no other topic tells their facts.

use super::figures::{hundredths, tenths, whole};
use super::formula::{Formula, Kind, Slots};

pub fn kinds() -> Vec<Kind> {
    vec![
        PLATES.only_kind(|dice| {
            let side = dice.stepped(25, 120, 5) as f64 / 2.0; // 12.5 to 60 kg
            let slots = Slots::new().with("total", whole(20.0 + 2.0 * side)).with("both", whole(2.0 * side));
            slots.with("side", tenths(side)).with("plates", plates(side))
        }),
        PORTIONS.only_kind(|dice| {
            let (protein, kcal) = (dice.stepped(90, 240, 2) as f64, dice.stepped(1_500, 3_900, 20) as f64);
            let (portions, dish) =
                (dice.between(3, 8) as f64, dice.pick(&["chilli", "lentil curry", "minestrone", "beef stew"]));
            Slots::new()
                .with("dish", dish)
                .with("protein", protein)
                .with("kcal", whole(kcal))
                .with("portions", portions)
                .with("each_protein", tenths(protein / portions))
                .with("each_kcal", whole(kcal / portions))
        }),
        PRICE.only_kind(|dice| {
            let (food, per_100) = dice.pick(&[("skyr", 11.0), ("tofu", 14.0), ("quark", 12.0), ("tempeh", 19.0)]);
            let grams = dice.stepped(200, 1_000, 50) as f64;
            let cents = (grams * dice.between(30, 130) as f64 / 1_000.0).round() * 10.0 + 9.0;
            let protein = grams * per_100 / 100.0;
            Slots::new()
                .with("food", food)
                .with("grams", whole(grams))
                .with("per_100", per_100)
                .with("price", format!("{:.2}", cents / 100.0))
                .with("protein", tenths(protein))
                .with("cost", format!("{:.2}", cents / protein))
        }),
        TUB.only_kind(|dice| {
            let (grams, scoop) = (dice.stepped(600, 2_500, 100) as f64, dice.stepped(24, 40, 2) as f64);
            let a_day = dice.pick(&[1.0, 2.0]);
            Slots::new()
                .with("grams", whole(grams))
                .with("scoop", scoop)
                .with("a_day", a_day)
                .with("daily", scoop * a_day)
                .with("days", whole((grams / (scoop * a_day)).floor()))
                .with("exact", tenths(grams / (scoop * a_day)))
        }),
        VISITS.only_kind(|dice| {
            let (fee, visits) = (dice.between(19, 75) as f64, dice.between(3, 17) as f64);
            let ticket = dice.between(8, 16) as f64;
            Slots::new()
                .with("fee", fee)
                .with("visits", visits)
                .with("ticket", ticket)
                .with("each", hundredths(fee / visits))
                .with("break_even", tenths(fee / ticket))
        }),
        POUNDS.only_kind(|dice| {
            let lb = dice.stepped(15, 315, 5) as f64;
            Slots::new().with("lb", lb).with("kg", tenths(lb / 2.205)).with("half", tenths(lb / 2.0))
        }),
        FEET.only_kind(|dice| {
            let inches = dice.between(58, 77);
            Slots::new()
                .with("feet", inches / 12)
                .with("inches", inches % 12)
                .with("all_inches", inches)
                .with("cm", tenths(inches as f64 * 2.54))
        }),
        BOTTLES.only_kind(|dice| {
            let (ml, goal) = (dice.pick(&[500.0, 600.0, 750.0, 800.0]), dice.between(14, 28) as f64 * 100.0);
            Slots::new()
                .with("ml", ml)
                .with("goal", tenths(goal / 1_000.0))
                .with("goal_ml", whole(goal))
                .with("bottles", tenths(goal / ml))
                .with("hours", tenths(12.0 / (goal / ml)))
        }),
    ]
}

/// The fewest plates for one side of the bar, as gyms stock them.
fn plates(side: f64) -> String {
    let mut left = side;
    let mut names = Vec::new();
    for plate in [25.0, 20.0, 15.0, 10.0, 5.0, 2.5] {
        while left >= plate {
            left -= plate;
            names.push(tenths(plate));
        }
    }
    names.join(" + ")
}

const PLATES: Formula = Formula {
    name: "plates-per-side",
    source: "",
    questions: &[
        "What goes on each side for {total} kg with a 20 kg bar?",
        "{total} kg on a 20 kilo barbell, plates per side?",
        "My programme says {total} kg. Bar weighs 20 kg. How do I load it?",
        "how many plates left and right for {total} kg (bar 20 kg)",
        "New to the rack: I need {total} kg in total on the 20 kg bar, which discs?",
        "Load {total} kg on a 20 kg bar for me, please.",
    ],
    answers: &[
        "Put {side} kg on each side. The bar takes 20 of the total, {total} − 20 = {both} kg are left, and {both} ÷ 2 = {side}. The fewest plates are {plates} a side, the heaviest next to the collar of the bar.",
        "Each end carries {plates}. Subtract the bar, {total} − 20 = {both}, and halve it, {both} ÷ 2 = {side} kg. Load and strip both ends in turn so that the bar doesn't tip, and close the clips.",
        "Left and right get {side} kg each, for instance {plates}. That comes from {total} − 20 = {both} and {both} ÷ 2 = {side}. Check the bar first, as shorter ones often weigh 10 or 15 kg.",
    ],
};

const PORTIONS: Formula = Formula {
    name: "recipe-portions",
    source: "",
    questions: &[
        "My pot of {dish} has {kcal} kcal and {protein} g protein in all, {portions} portions. Per portion?",
        "{dish}, {portions} servings, total {kcal} kcal / {protein} g protein. one serving?",
        "Batch cooked {dish} for {portions} boxes. The whole pot: {kcal} kcal, {protein} g protein. What do I log?",
        "If {dish} with {kcal} kcal and {protein} g of protein feeds {portions}, what does each person get?",
        "Divide {kcal} kcal and {protein} g protein of {dish} into {portions} equal lunches.",
    ],
    answers: &[
        "One portion has about {each_kcal} kcal and {each_protein} g protein. Divide the pot by the number of portions: {kcal} ÷ {portions} = {each_kcal} and {protein} ÷ {portions} = {each_protein}. Weighing the full pot makes equal portions easy.",
        "Log {each_kcal} kcal with {each_protein} g of protein, because {kcal} ÷ {portions} = {each_kcal} and {protein} ÷ {portions} = {each_protein}. If the boxes differ in size, go by weight: your grams divided by the grams of the whole pot.",
        "Each gets {kcal} ÷ {portions} = {each_kcal} kcal and {protein} ÷ {portions} = {each_protein} g protein. Let it cool quickly, keep what you eat within three days in the fridge and freeze the rest.",
    ],
};

const PRICE: Formula = Formula {
    name: "protein-price",
    source: "",
    questions: &[
        "{grams} g of {food} cost {price} euros and have {per_100} g protein per 100 g. What do 100 g of protein cost?",
        "{food} {price} € for {grams} g, {per_100} g protein per 100 g: price of 100 g protein?",
        "Is {food} cheap protein? The pack of {grams} g is {price} euros with {per_100} g per 100 g.",
        "compare prices: {food}, {grams} g, {price} euro, protein {per_100} g per 100 g",
        "How expensive is the protein in {food} at {price} euros a pack ({grams} g, {per_100} g protein per 100 g)?",
    ],
    answers: &[
        "100 g of protein cost {cost} euros this way. The pack holds {grams} × {per_100} ÷ 100 = {protein} g protein, and {price} ÷ {protein} × 100 = {cost}. Use the same sum for eggs, lentils or powder and you see what is cheap near you.",
        "You pay {cost} euros per 100 g of protein: {grams} × {per_100} ÷ 100 = {protein} g are in the pack, so {price} ÷ {protein} × 100 = {cost}. Below three euros is usually good value, above six is a treat.",
        "Work out the protein in the pack, {grams} × {per_100} ÷ 100 = {protein} g, then the price of a hundred grams, {price} ÷ {protein} × 100 = {cost} euros. Price isn't all, of course; taste and what else is in it count too.",
    ],
};

const TUB: Formula = Formula {
    name: "powder-tub-days",
    source: "",
    questions: &[
        "How long does a {grams} g tub of protein powder last at {a_day} scoops of {scoop} g a day?",
        "{grams} g tub, {scoop} g scoop, {a_day} daily. days?",
        "I use {a_day} x {scoop} g of whey each day. When is a bag of {grams} g empty?",
        "Servings sum: {grams} g powder, scoops of {scoop} g, {a_day} per day. How many days?",
        "will {grams} g of powder get me through the month with {a_day} times {scoop} g daily",
    ],
    answers: &[
        "It lasts {days} days. You use {a_day} × {scoop} = {daily} g a day, and {grams} ÷ {daily} = {exact}. Level scoops matter: heaped ones often hold a fifth more, so weigh one once.",
        "After {days} full days there is no whole portion left, as {a_day} × {scoop} = {daily} and {grams} ÷ {daily} = {exact}. Close the lid well and keep it dry; powder that smells odd or clumps belongs in the bin.",
        "Daily use is {a_day} × {scoop} = {daily} g, so {grams} ÷ {daily} = {exact}, which means {days} days. On days with enough protein from meals you can leave the shake out and stretch the tub.",
    ],
};

const VISITS: Formula = Formula {
    name: "gym-visit-cost",
    source: "",
    questions: &[
        "My gym costs {fee} euros a month and I go {visits} times. What does a visit cost, if a day ticket is {ticket} euros?",
        "{fee} euro membership, {visits} visits a month, single ticket {ticket} euro. worth it?",
        "How often must I train for {fee} euros monthly to beat {ticket} euro day tickets? At present {visits} visits.",
        "Does a {fee} euro contract pay off at {visits} workouts a month against {ticket} euros a time?",
        "Per-visit price: {fee} euros, {visits} sessions a month, drop-in {ticket} euros.",
    ],
    answers: &[
        "Each visit costs {fee} ÷ {visits} = {each} euros. The contract beats day tickets from {fee} ÷ {ticket} = {break_even} visits a month on. If money keeps you going, write your visits on the calendar.",
        "You pay {each} euros a time, since {fee} ÷ {visits} = {each}. Break-even with the {ticket} euro ticket lies at {fee} ÷ {ticket} = {break_even} visits. A home setup of dumbbells and bands is a third way to compare.",
        "Divide: {fee} ÷ {visits} = {each} euros per session, against {ticket} euros for a ticket. From {fee} ÷ {ticket} = {break_even} visits a month the membership is cheaper, and the habit it supports is worth something too.",
    ],
};

const POUNDS: Formula = Formula {
    name: "pounds-to-kilos",
    source: "",
    questions: &[
        "How many kilos are {lb} lb?",
        "{lb} pounds in kg?",
        "The dumbbells here are marked {lb} lb. What is that in kilograms?",
        "A US video uses {lb} lb on the bar. In kilos, please?",
        "convert {lb} lbs for someone who only knows kg",
        "Machine stack says {lb} lb; what do I write in my kg log?",
    ],
    answers: &[
        "It is {kg} kg. One kilogram has about 2.205 pounds, so {lb} ÷ 2.205 = {kg}. In your head, halve the pounds, {lb} ÷ 2 = {half}, and take off a tenth of that.",
        "Write down {kg} kg, from {lb} ÷ 2.205 = {kg}. Machines with pulleys rarely pull exactly what the stack says, so compare such numbers only on the same machine.",
        "About {kg} kg: divide by 2.205, {lb} ÷ 2.205 = {kg}. Plates in pounds and kilos don't match one to one, so when you copy a programme round to the nearest weight you have.",
    ],
};

const FEET: Formula = Formula {
    name: "feet-to-centimetres",
    source: "",
    questions: &[
        "A calorie calculator wants centimetres. I'm {feet} ft {inches} in.",
        "{feet} foot {inches} in cm?",
        "What's {feet} feet {inches} inches in centimetres?",
        "my height is {feet} ft {inches} in, convert to metric for the bmi",
        "Passport says {feet} ft {inches} in; how tall is that in cm?",
    ],
    answers: &[
        "You are {cm} cm tall. A foot has twelve inches, {feet} × 12 + {inches} = {all_inches} inches, and each inch is 2.54 cm: {all_inches} × 2.54 = {cm}. Enter it without shoes for formulas such as BMI.",
        "That makes {cm} cm. First inches only, {feet} × 12 + {inches} = {all_inches}, then {all_inches} × 2.54 = {cm}. Rounding to the whole centimetre changes a calorie estimate by less than ten.",
        "In metric it is {cm} cm, because {feet} × 12 + {inches} = {all_inches} inches and {all_inches} × 2.54 = {cm}. Divide by 100 if a formula asks for metres.",
    ],
};

const BOTTLES: Formula = Formula {
    name: "bottle-refills",
    source: "",
    questions: &[
        "How many times do I fill my {ml} ml bottle for {goal} litres a day?",
        "{goal} l daily, bottle {ml} ml, how often?",
        "I'd like to drink {goal} litres and own a {ml} ml flask. Refills?",
        "With {ml} ml in the bottle, what's {goal} litres in bottles?",
        "bottles of {ml} ml needed for {goal} litres, and how far apart from morning to evening",
    ],
    answers: &[
        "You need {bottles} bottles. {Goal} litres are {goal_ml} ml, and {goal_ml} ÷ {ml} = {bottles}. Over twelve waking hours that is one about every {hours} hours; food, tea and soup count towards fluid as well.",
        "Divide the millilitres: {goal_ml} ÷ {ml} = {bottles} fillings. There is no need to reach the number exactly, since thirst and pale urine show whether you drink enough.",
        "{Goal_ml} ÷ {ml} = {bottles}, so fill it that often in a day. Spread it, one bottle in about {hours} hours, and drink more in heat or after sport rather than all at night.",
    ],
};
