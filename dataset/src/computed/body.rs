//! Body mass index, the weights that belong to a height, and changes in percent.

use super::figures::{height, tenths, thousandths};
use super::formula::{Formula, Kind, Slots};
use super::person::{Person, SEXES};

pub fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (name, bmi, verdict) in [
        ("normal", (188, 246), "within the normal range of 18.5 to 24.9"),
        ("overweight", (253, 296), "in the overweight range of 25 to 29.9"),
        ("obesity", (303, 370), "in the obesity range, which begins at 30"),
    ] {
        for sex in SEXES {
            kinds.push(BMI.kind(format!("{name}-{}", sex.plural()), move |dice| {
                let person = Person::draw(dice, sex, (20, 60), bmi);
                index(&person).with("verdict", verdict)
            }));
        }
    }
    for (name, low, high) in [("150s", 150, 159), ("160s", 160, 169), ("170s", 170, 179), ("180s", 180, 194)] {
        kinds.push(WEIGHTS.kind(name, move |dice| {
            let metres = dice.between(low, high) as f64 / 100.0;
            let square = metres * metres;
            Slots::new()
                .with("m", height(metres))
                .with("cm", (metres * 100.0).round())
                .with("square", thousandths(square))
                .with("lowest", tenths(18.5 * square))
                .with("highest", tenths(24.9 * square))
                .with("middle", tenths(22.0 * square))
        }));
    }
    for (name, months, lost) in [("small-loss", "three", (30, 49)), ("clear-loss", "eight", (52, 98))] {
        kinds.push(CHANGE.kind(name, move |dice| {
            let sex = dice.pick(&SEXES);
            let person = Person::draw(dice, sex, (25, 62), (305, 370));
            change(&person, dice.between(lost.0, lost.1) as f64).with("months", months)
        }));
    }
    kinds
}

fn index(person: &Person) -> Slots {
    let square = person.metres() * person.metres();
    person
        .slots()
        .with("square", thousandths(square))
        .with("bmi", tenths(person.bmi()))
        .with("half", tenths(person.cm as f64 / 2.0))
}

/// A loss of so many per mille.
fn change(person: &Person, per_mille: f64) -> Slots {
    let now = (person.kg as f64 * (1000.0 - per_mille) / 100.0).round() / 10.0;
    let lost = person.kg as f64 - now;
    person
        .slots()
        .with("now", tenths(now))
        .with("lost", tenths(lost))
        .with("percent", tenths(lost / person.kg as f64 * 100.0))
        .with("five", tenths(person.kg as f64 * 0.05))
        .with("goal", tenths(person.kg as f64 * 0.95))
}

const BMI: Formula = Formula {
    name: "bmi",
    source: "WHO BMI classification",
    questions: &[
        "What is my BMI at {kg} kg and {m} m?",
        "bmi for {cm} cm and {kg} kilos, and which category is it",
        "{Sex}, {age}, {cm} cm, {kg} kg. Is that a normal weight?",
        "I'm {m} m tall and weigh {kg} kg. What does the BMI say, and can I trust it?",
        "Doctor's form asks for my body mass index: {kg} kg, {cm} cm?",
        "How do you calculate BMI by hand? Take {m} m and {kg} kg.",
        "weight {kg} kg, height {m} m, {female}: body mass index?",
        "Is {kg} kg all right for a {sex} of {cm} cm and {age} years?",
        "My scale says {kg} kg, the door frame says {cm} cm. Work out the BMI for me.",
    ],
    answers: &[
        "Your BMI is {bmi}, {verdict}. Square the height, {m} × {m} = {square}, and divide: {kg} ÷ {square} = {bmi}. It can't tell muscle from fat, so measure your waist as well; below half your height, {half} cm, is a good sign.",
        "Divide the weight by the height squared. {M} × {m} = {square} and {kg} ÷ {square} = {bmi}, which lies {verdict}. The index was made for groups of people, so athletes with much muscle and older people with little are often misjudged.",
        "It works out at {bmi}. The steps are {m} × {m} = {square}, then {kg} ÷ {square} = {bmi}, and for adults that is {verdict}. Waist, blood pressure, blood values and fitness say more about health than this one number.",
        "{M} m squared is {square}, and {kg} ÷ {square} = {bmi}: {verdict}. The limits hold for adults who aren't pregnant; for many people of Asian origin lower action points of 23 and 27.5 are suggested.",
        "With {kg} kg the sum is {kg} ÷ {square} = {bmi}, where {square} is {m} m times itself. Adult tables place that {verdict}. Take it as a first screening only, because it does not see where fat sits or how strong you are.",
    ],
};

const WEIGHTS: Formula = Formula {
    name: "weight-range",
    source: "WHO BMI classification",
    questions: &[
        "What's a healthy weight range for an adult of {cm} cm?",
        "I'm {m} m and grown up. Between which weights is BMI normal?",
        "normal weight for {cm} cm tall, from to?",
        "How light or heavy may I be at {m} m before BMI complains? I'm an adult.",
        "Which kilos belong to a BMI of 18.5 to 24.9 at {cm} cm?",
        "Turn the normal BMI range into kilograms for my height, {m} m.",
        "Adult, {cm} cm. Lowest and highest normal weight?",
    ],
    answers: &[
        "Between {lowest} and {highest} kg. Square the height, {m} × {m} = {square}; then 18.5 × {square} = {lowest} and 24.9 × {square} = {highest}. Build and muscle decide where in that wide range you belong, and it is meant for adults only.",
        "For {m} m the range runs from {lowest} to {highest} kg. It comes from 18.5 × {square} = {lowest} and 24.9 × {square} = {highest}, where {m} × {m} = {square}. A muscular person may weigh more and be perfectly healthy.",
        "Start with {m} × {m} = {square}. The lower limit is 18.5 × {square} = {lowest} kg, the upper 24.9 × {square} = {highest} kg, and a BMI of 22 in the middle means 22 × {square} = {middle} kg. There is no need to aim at either end.",
        "Normal weight covers {lowest} to {highest} kg at this height: 18.5 × {square} = {lowest}, 24.9 × {square} = {highest}, with {square} as {m} m squared. Older adults often do well near the upper end, and children need growth charts instead.",
    ],
};

const CHANGE: Formula = Formula {
    name: "percent-lost",
    source: "AHA/ACC/TOS obesity guideline 2013",
    questions: &[
        "I slimmed from {kg} to {now} kg on purpose, {m} m tall. What percent is that?",
        "{kg} kg in spring, {now} kg now, height {cm} cm, dieting sensibly. How many percent have I lost?",
        "percentage of body weight lost: start {kg} kg, now {now} kg, {cm} cm, planned",
        "At {m} m I went from {kg} kg down to {now} kg in {months} months of eating better. Is the percentage worth anything?",
        "My doctor wanted five percent off. I was {kg} kg at {cm} cm and weigh {now} kg today. Done?",
        "Weight loss programme: {m} m, first day {kg} kg, today {now} kg. Percent please.",
    ],
    answers: &[
        "You have lost {percent} %. The difference is {kg} − {now} = {lost} kg, and {lost} ÷ {kg} × 100 = {percent}. In adults with obesity a lasting 3 to 5 % already improves blood fats and blood sugar, so every step counts.",
        "Subtract, {kg} − {now} = {lost}, then divide by where you began: {lost} ÷ {kg} × 100 = {percent} %. For comparison, 5 % of your starting weight would be {kg} × 0.05 = {five} kg. Holding it for a year matters more than the next kilo.",
        "That makes {percent} % of your starting weight, since {kg} − {now} = {lost} kg and {lost} ÷ {kg} × 100 = {percent}. The 5 % mark lies at {kg} × 0.95 = {goal} kg. Keep strength training and protein in so that mostly fat goes.",
    ],
};
