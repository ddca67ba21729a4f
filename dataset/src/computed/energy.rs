//! Resting energy (Mifflin-St Jeor) and total energy (activity factors).

use super::figures::{hundredths, rounded_to, whole};
use super::formula::{Formula, Kind, Slots};
use super::person::{Person, SEXES, Sex};
use crate::dice::Dice;

pub fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for sex in SEXES {
        for (name, ages) in [("18-29", (18, 29)), ("30-44", (30, 44)), ("45-59", (45, 59)), ("60-75", (60, 75))] {
            kinds.push(RESTING.kind(format!("{}-{name}", sex.plural()), move |dice| {
                resting(&Person::draw(dice, sex, ages, (200, 320)))
            }));
        }
    }
    for level in LEVELS {
        kinds.push(TOTAL.kind(level.name, move |dice| {
            let bmr = dice.stepped(1_250, 1_950, 10) as f64;
            total(bmr, level, dice).with("bmr", whole(bmr))
        }));
        for sex in SEXES {
            kinds.push(FROM_SCRATCH.kind(format!("{}-{}", sex.plural(), level.name), move |dice| {
                let person = Person::draw(dice, sex, (19, 68), (205, 300));
                resting(&person).and(total(mifflin(&person).round(), level, dice))
            }));
        }
    }
    kinds
}

/// kcal a day at rest. Mifflin et al. 1990.
pub fn mifflin(person: &Person) -> f64 {
    let constant = if person.sex == Sex::Woman { -161.0 } else { 5.0 };
    10.0 * person.kg as f64 + 6.25 * person.cm as f64 - 5.0 * person.age as f64 + constant
}

fn resting(person: &Person) -> Slots {
    let (sign, constant) = if person.sex == Sex::Woman { ("−", 161) } else { ("+", 5) };
    person
        .slots()
        .with("by_weight", whole(10.0 * person.kg as f64))
        .with("by_height", hundredths(6.25 * person.cm as f64))
        .with("by_age", whole(5.0 * person.age as f64))
        .with("sign", sign)
        .with("constant", constant)
        .with("exact", hundredths(mifflin(person)))
        .with("bmr", whole(mifflin(person)))
}

#[derive(Clone, Copy)]
struct Level {
    name: &'static str,
    factor: f64,
    words: &'static str,
    /// How people describe such a week; no figures, they are read back from the question.
    lives: &'static [&'static str],
}

const LEVELS: [Level; 4] = [
    Level {
        name: "sedentary",
        factor: 1.2,
        words: "sedentary",
        lives: &[
            "a desk job and no sport",
            "a home office and hardly any walking",
            "long days on the sofa or in the car",
        ],
    },
    Level {
        name: "lightly-active",
        factor: 1.375,
        words: "lightly active",
        lives: &[
            "an office job plus two easy gym visits a week",
            "a sitting job and a daily walk",
            "a quiet life with light exercise on a few days",
        ],
    },
    Level {
        name: "moderately-active",
        factor: 1.55,
        words: "moderately active",
        lives: &[
            "a desk job and four or five proper workouts a week",
            "a job on my feet and some jogging",
            "moderate training on most days",
        ],
    },
    Level {
        name: "very-active",
        factor: 1.725,
        words: "very active",
        lives: &[
            "hard training six days a week",
            "a building-site job plus evening sport",
            "farm work and regular football practice",
        ],
    },
];

fn total(bmr: f64, level: Level, dice: &mut Dice) -> Slots {
    let total = bmr * level.factor;
    Slots::new()
        .with("life", dice.pick(level.lives))
        .with("level", level.words)
        .with("factor", level.factor)
        .with("total", whole(total))
        .with("plan", whole(rounded_to(50.0, total)))
        .with("movement", whole(total.round() - bmr))
}

const RESTING: Formula = Formula {
    name: "mifflin-st-jeor",
    source: "Mifflin et al. 1990",
    questions: &[
        "What's my BMR? I'm a {age}-year-old {sex}, {kg} kg and {cm} cm.",
        "{Female}, {age}, {kg} kg, {cm} cm: how many calories do I burn just lying in bed?",
        "Run Mifflin-St Jeor for a {sex} of {age} who is {cm} cm tall and weighs {kg} kg, please.",
        "basal metabolic rate for {cm} cm / {kg} kg / {age} years / {female}",
        "How much energy does a {female} body of {kg} kg use at rest if it is {age} years old and {cm} cm long?",
        "I turned {age} last week, {sex}, {m} m tall with {kg} kg on the scale. Resting metabolism?",
        "resting kcal at {kg} kg, {m} m, {female}, age {age}?",
        "First step of my calorie plan is the BMR. Data: {sex}, {age} years, {m} m, {kg} kg.",
        "At {age} and as a {sex} of {kg} kg and {cm} cm, what does a day without moving cost me?",
        "My height is {cm} cm, my weight {kg} kg, my age {age}, sex {female}. Can you estimate resting calories?",
    ],
    answers: &[
        "About {bmr} kcal a day. Mifflin-St Jeor for {sexes} takes 10 × {kg} = {by_weight}, 6.25 × {cm} = {by_height} and 5 × {age} = {by_age}; then {by_weight} + {by_height} − {by_age} {sign} {constant} = {exact}. That covers complete rest only and can be off by 10 % either way.",
        "Weight counts 10 × {kg} = {by_weight}, height 6.25 × {cm} = {by_height}, and age takes away 5 × {age} = {by_age}. With the constant for {sexes} we get {by_weight} + {by_height} − {by_age} {sign} {constant} = {exact}, so roughly {bmr} kcal at rest. Multiply by an activity factor before planning meals.",
        "Around {bmr} kcal would be used in a day of doing nothing. The steps: 10 × {kg} = {by_weight}, 6.25 × {cm} = {by_height}, 5 × {age} = {by_age}, and together {by_weight} + {by_height} − {by_age} {sign} {constant} = {exact}. Real people scatter by about a tenth around such a figure.",
        "The equation for {sexes} is 10 × kg + 6.25 × cm − 5 × years {sign} {constant}. Put in the numbers: {by_weight} + {by_height} − {by_age} {sign} {constant} = {exact}. Call it {bmr} kcal a day, and let three weeks of scale readings correct it.",
        "Let's go piece by piece. Weight: 10 × {kg} = {by_weight}. Height: 6.25 × {cm} = {by_height}. Age: 5 × {age} = {by_age}. For {sexes} the last step gives {by_weight} + {by_height} − {by_age} {sign} {constant} = {exact}, in round terms {bmr} kcal for lying still all day.",
        "Resting need comes to {bmr} kcal, give or take 10 %. It is the sum {by_weight} + {by_height} − {by_age} {sign} {constant} = {exact}, made of ten times the kilos, 6.25 times the centimetres and five times the years, plus the fixed term for {sexes}. Eating only this much would leave nothing for movement.",
    ],
};

const TOTAL: Formula = Formula {
    name: "total-energy",
    source: "Mifflin et al. 1990 with customary activity factors",
    questions: &[
        "My BMR is {bmr} kcal. With {life}, what do I burn in a whole day?",
        "bmr {bmr}, {life}, which activity factor and what tdee?",
        "How do I get from a resting {bmr} kcal to maintenance calories? My week: {life}.",
        "If my resting rate is {bmr} calories and I have {life}, how much can I eat without gaining?",
        "TDEE please: {bmr} kcal at rest, {life}.",
        "The app shows {bmr} for BMR, then it asks about activity. I'd say {life}. What comes out?",
        "{Life}, resting need {bmr} kcal. Total?",
        "Daily expenditure for {bmr} kcal BMR and {life}?",
    ],
    answers: &[
        "That week counts as {level}, factor {factor}: {bmr} × {factor} = {total}. Plan with about {plan} kcal a day, watch the weekly average of your weight for three weeks and correct by 100 to 200 kcal if it drifts.",
        "Around {plan} kcal. Multiply the resting need by the {level} factor, {bmr} × {factor} = {total}; the difference of {movement} kcal is digestion and everything you do on your feet. Factors are rough, so let the scale have the last word.",
        "Take {factor}, the usual multiplier for {level} people. Then {bmr} × {factor} = {total} kcal keep your weight about steady. Don't add workout calories on top, since the factor contains them already.",
        "Your total should be near {total} kcal: {bmr} × {factor} = {total}. Most people rate their activity too high, so if you are unsure whether {level} is right, begin with the next lower factor and adjust.",
        "With {level} habits the sum is {bmr} × {factor} = {total}, and of those calories {movement} come on top of plain rest. An error of 10 % in either direction is normal for this method.",
    ],
};

const FROM_SCRATCH: Formula = Formula {
    name: "daily-needs",
    source: "Mifflin et al. 1990 with customary activity factors",
    questions: &[
        "How many calories a day do I need? {Sex}, {age}, {cm} cm, {kg} kg, {life}.",
        "I'm {age}, {female}, {kg} kg at {m} m. My week is {life}. What's maintenance?",
        "tdee from scratch for {kg} kg, {cm} cm, {age} years, {female}, {life}",
        "Estimate what a {sex} of {age} with {cm} cm and {kg} kg burns per day with {life}.",
        "{Life}: what do I need to hold {kg} kg at {cm} cm, {female}, age {age}?",
        "Can you do BMR and TDEE for me? {Kg} kg, {m} m, {sex}, {age} years old, and {life}.",
        "maintenance kcal? {female} {age}, {cm} cm, {kg} kg. lifestyle: {life}",
        "{Age} years, {sex}, {m} m, {kg} kg and {life}; how much food keeps me where I am?",
        "I want to stay at {kg} kg. I'm a {sex} of {cm} cm, {age} years old, with {life}.",
    ],
    answers: &[
        "About {plan} kcal a day. Resting need by Mifflin-St Jeor: {by_weight} + {by_height} − {by_age} {sign} {constant} = {exact}, so {bmr}. Times {factor} for a {level} week, {bmr} × {factor} = {total}. Weigh yourself for three weeks to see whether it holds.",
        "First the resting part, 10 × {kg} = {by_weight}, 6.25 × {cm} = {by_height}, 5 × {age} = {by_age}: {by_weight} + {by_height} − {by_age} {sign} {constant} = {exact}. Then the {level} factor: {bmr} × {factor} = {total}. Start at {plan} kcal and correct with your own data.",
        "Maintenance is near {total} kcal. At rest you need {bmr}, from {by_weight} + {by_height} − {by_age} {sign} {constant} = {exact}. A {level} life multiplies that by {factor}: {bmr} × {factor} = {total}. The estimate may miss by a few hundred calories.",
        "Two steps lead there. BMR for {sexes}: {by_weight} + {by_height} − {by_age} {sign} {constant} = {exact} kcal. Activity: you are {level}, so {bmr} × {factor} = {total} kcal. Of these, {movement} kcal pay for digestion and movement.",
        "I get {plan} kcal, rounded. It is the resting {bmr} kcal from {by_weight} + {by_height} − {by_age} {sign} {constant} = {exact}, times {factor} because such a week is {level}: {bmr} × {factor} = {total}. Treat it as a starting point rather than a verdict.",
    ],
};
