//! What a deficit does. Adults between 22 and 50 with a BMI of 28 or more, moderate deficits, enough food left.

use super::energy::mifflin;
use super::figures::{hundredths, rounded_to, tenths, whole};
use super::formula::{Formula, Kind, Slots};
use super::person::{Person, SEXES, Sex};
use crate::dice::Dice;

/// Intake stays above: below it, meals hardly cover vitamins and minerals.
fn least_intake(sex: Sex) -> f64 {
    if sex == Sex::Woman { 1_400.0 } else { 1_700.0 }
}

pub fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for sex in SEXES {
        for (name, deficits) in [("small", (200, 300)), ("medium", (320, 450)), ("large", (460, 600))] {
            kinds.push(WEEKLY_LOSS.kind(format!("{}-{name}-deficit", sex.plural()), move |dice| {
                let (person, maintenance) = with_maintenance(dice, sex);
                let deficit = dice.stepped(deficits.0, deficits.1, 10) as f64;
                weekly_loss(&person, maintenance, deficit)
            }));
        }
        for percent in [10, 15, 20] {
            kinds.push(INTAKE.kind(format!("{}-{percent}-percent", sex.plural()), move |dice| {
                let (person, maintenance) = with_maintenance(dice, sex);
                let cut = maintenance * percent as f64 / 100.0;
                let slots = person.slots().with("maintenance", whole(maintenance)).with("percent", percent);
                slots
                    .with("bmi", tenths(person.bmi()))
                    .with("share", hundredths(percent as f64 / 100.0))
                    .with("cut", whole(cut))
                    .with("intake", whole(maintenance - cut.round()))
                    .with("weekly", hundredths(cut.round() * 7.0 / 7_700.0))
                    .with("protein", whole(person.metres() * person.metres() * 25.0 * 1.6))
            }));
        }
    }
    kinds
}

fn with_maintenance(dice: &mut Dice, sex: Sex) -> (Person, f64) {
    let person = Person::draw(dice, sex, (22, 50), (285, 350));
    let factor = dice.pick(&[1.5, 1.6, 1.7]);
    // So that the largest deficit leaves enough to eat.
    let maintenance = rounded_to(50.0, mifflin(&person) * factor).max(least_intake(sex) + 600.0);
    (person, maintenance)
}

fn weekly_loss(person: &Person, maintenance: f64, deficit: f64) -> Slots {
    let loss = deficit * 7.0 / 7_700.0;
    let percent = loss / person.kg as f64 * 100.0;
    person
        .slots()
        .with("maintenance", whole(maintenance))
        .with("deficit", whole(deficit))
        .with("intake", whole(maintenance - deficit))
        .with("week", whole(deficit * 7.0))
        .with("loss", hundredths(loss))
        .with("month", tenths(loss * 30.0 / 7.0))
        .with("percent", hundredths(percent))
        .with("bmi", tenths(person.bmi()))
}

const WEEKLY_LOSS: Formula = Formula {
    name: "weekly-loss",
    source: "NHLBI obesity guideline 1998; Hall et al. 2011",
    questions: &[
        "{Sex}, {age}, {kg} kg, {m} m, maintenance {maintenance} kcal. If I eat {deficit} kcal less a day, what do I lose per week?",
        "I maintain {kg} kg ({cm} cm, age {age}) on {maintenance} kcal. Weekly loss with a {deficit} kcal deficit?",
        "{deficit} kcal deficit daily, {kg} kg, {cm} cm, {age} years, need {maintenance} kcal. how many kilos a week",
        "How fast will a daily gap of {deficit} kcal work? I'm {age}, {m} m, {kg} kg and burn {maintenance} kcal.",
        "At {maintenance} kcal my weight stays at {kg} kg. Height {m} m, {age} years. What happens per week if I leave out {deficit} kcal a day?",
        "Is a {deficit} kcal deficit reasonable for a {sex} of {age}, {cm} cm, {kg} kg with {maintenance} kcal maintenance, and what does it bring?",
        "I'm a {age}-year-old {sex} of {m} m and {kg} kg. {Maintenance} kcal minus {deficit} kcal: expected loss?",
    ],
    answers: &[
        "Around {loss} kg a week at first. The gap adds up to {deficit} × 7 = {week} kcal, and a kilo of body fat holds about 7,700: {week} ÷ 7,700 = {loss}. Your BMI of {bmi} leaves room for that, and {intake} kcal a day is still enough to eat well.",
        "Multiply and divide: {deficit} × 7 = {week} kcal a week, {week} ÷ 7,700 = {loss} kg. Against {kg} kg this is {percent} % of your weight, within the 1 % a week that is thought safe. After some months it slows, because a lighter body needs less.",
        "On paper {loss} kg per week, from {deficit} × 7 = {week} and {week} ÷ 7,700 = {loss}. You would eat {maintenance} − {deficit} = {intake} kcal. Water hides it for a week or two, so compare monthly averages; about {month} kg in 30 days would fit.",
        "Expect near {loss} kg a week, that is {percent} % of body weight and a gentle pace. The sum is {deficit} × 7 = {week} kcal, divided by 7,700 per kilo. Keep protein high and lift something twice a week so that the loss is mostly fat.",
        "You'd be at {maintenance} − {deficit} = {intake} kcal, which suits a BMI of {bmi}. Seven days save {deficit} × 7 = {week} kcal, so {week} ÷ 7,700 = {loss} kg. If you take medicines or are ill, ask your doctor before you start.",
    ],
};

const INTAKE: Formula = Formula {
    name: "intake-in-a-deficit",
    source: "NHLBI obesity guideline 1998; NICE obesity guideline 2014",
    questions: &[
        "Maintenance is {maintenance} kcal, I'm {kg} kg at {m} m and {age}. How much should I eat for a {percent} % deficit?",
        "{percent} % below {maintenance} kcal? {sex}, {age}, {kg} kg, {cm} cm",
        "I'd like to cut {percent} percent. Data: {sex} of {age}, {cm} cm, {kg} kg, {maintenance} kcal to stay even.",
        "What is a {percent} percent deficit for me? {Kg} kg, {cm} cm, {age} years, {maintenance} kcal maintenance.",
        "calorie goal for slow fat loss: {age} years, {m} m, {kg} kg, tdee {maintenance}, minus {percent} %",
        "How many calories remain if a {sex} ({age}, {m} m, {kg} kg) takes {percent} % off {maintenance} kcal?",
    ],
    answers: &[
        "Eat about {intake} kcal. The cut is {maintenance} × {share} = {cut} kcal, and {maintenance} − {cut} = {intake}. At a BMI of {bmi} this is a moderate plan; expect roughly {weekly} kg a week to begin with.",
        "{Intake} kcal a day. Take {maintenance} × {share} = {cut} and subtract it: {maintenance} − {cut} = {intake}. Try to get at least {protein} g of protein within it, and look at the trend after three weeks before changing anything.",
        "Your target would be {maintenance} − {cut} = {intake} kcal, because {maintenance} × {share} = {cut}. Over a week that saves {cut} × 7 kcal, or some {weekly} kg of fat. Losing slowly is easier to keep up than going lower.",
        "That leaves {intake} kcal: {maintenance} × {share} = {cut} kcal less than you burn. With a BMI of {bmi} such a deficit is reasonable for a healthy adult. Stop and talk to a doctor if you feel faint, lose your period or can't think of anything but food.",
    ],
};
