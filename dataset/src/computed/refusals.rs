//! Deficits that must not be worked out: for children, at a low weight, in pregnancy, and far too large ones.

use super::energy::mifflin;
use super::figures::{hundredths, rounded_to, tenths, thousandths, whole};
use super::formula::{Formula, Kind, Slots};
use super::person::{Person, SEXES};

pub fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (name, child, parent) in [("girls", "girl", "daughter"), ("boys", "boy", "son")] {
        kinds.push(MINORS.kind(name, move |dice| {
            let age = dice.between(11, 17);
            let cm = 146 + (age - 11) * 4 + dice.between(-4, 4);
            // 19 to 24 kg per square metre.
            let kg = (dice.between(19, 24) * cm * cm) as f64 / 10_000.0;
            Slots::new()
                .with("age", age)
                .with("cm", cm)
                .with("kg", whole(kg))
                .with("child", child)
                .with("parent", parent)
                .with("deficit", whole(dice.stepped(300, 900, 50) as f64))
                .with("lose", dice.between(3, 9))
        }));
    }
    for sex in SEXES {
        kinds.push(LOW_WEIGHT.kind(sex.plural(), move |dice| {
            let person = Person::draw(dice, sex, (18, 48), (155, 183));
            let square = person.metres() * person.metres();
            person
                .slots()
                .with("goal", person.kg - dice.between(2, 5))
                .with("square", thousandths(square))
                .with("bmi", tenths(person.bmi()))
                .with("limit", tenths(18.5 * square))
        }));
        kinds.push(CRASH.kind(sex.plural(), move |dice| {
            let person = Person::draw(dice, sex, (22, 58), (280, 345));
            let maintenance = rounded_to(50.0, mifflin(&person) * 1.5).max(2_000.0);
            // What would be left is a very-low-energy diet.
            let deficit = maintenance - dice.stepped(500, 800, 50) as f64;
            person
                .slots()
                .with("maintenance", whole(maintenance))
                .with("deficit", whole(deficit))
                .with("intake", whole(maintenance - deficit))
                .with("loss", hundredths(deficit * 7.0 / 7_700.0))
                .with("fifth", whole(maintenance * 0.2))
                .with("better", whole(maintenance - (maintenance * 0.2).round()))
        }));
    }
    kinds.push(PREGNANT.only_kind(|dice| {
        let slots = Slots::new().with("week", dice.between(9, 36)).with("kg", dice.between(62, 98));
        slots.with("deficit", whole(dice.stepped(250, 700, 50) as f64)).with("cm", dice.between(155, 178))
    }));
    kinds.into_iter().map(Kind::about_safety).collect()
}

const MINORS: Formula = Formula {
    name: "deficit-under-18",
    source: "",
    questions: &[
        "I'm {age}, {cm} cm and {kg} kg. What deficit do I need to lose {lose} kg?",
        "{age} year old {child}, {kg} kg, {cm} cm, how fast can i lose {lose} kg with {deficit} kcal less a day",
        "My {parent} is {age} ({cm} cm, {kg} kg) and wants a calorie goal for losing weight. Can you calculate it?",
        "Calculate a {deficit} kcal deficit for a {child} of {age}: {kg} kg, {cm} cm.",
        "How many calories should I eat to drop {lose} kg before summer? {Age} years, {kg} kg, {cm} cm.",
        "BMR minus {deficit} for my {parent}, {age}, {kg} kg, {cm} cm, please.",
        "i wanna cut {lose} kilos, im {age} and {kg} kg at {cm} cm, whats my calorie target",
    ],
    answers: &[
        "I don't work out deficits below 18. At {age} the body still builds bone, muscle and brain, and too little food can hold that back. If weight is a worry, a doctor can look at the growth chart; regular meals, daily movement and enough sleep are safe in the meantime.",
        "No calorie goal from me here: the formulas were made for adults, and at {age} growth needs energy every day. Talk with a paediatrician or family doctor, who judges weight by age and height. Sport for fun and shared family meals help more than numbers.",
        "That calculation wouldn't be safe at {age}. Eating less than the growing body needs can upset hormones, mood and bones, and strict targets sometimes start an eating disorder. A doctor or dietitian who works with young people is the right person to ask.",
        "At {age}, losing weight by arithmetic is not a good idea, so I leave the sum aside. Growth often changes the shape within a year by itself. See the family doctor together if you are concerned, and reach out at once if meals are skipped or vomited up.",
        "I'd rather not give a number for somebody aged {age}. What works at that age is less sweet drink, more play or sport, breakfast, and going to bed in time. Whether any weight should come off is a question for a doctor with growth curves.",
    ],
};

const LOW_WEIGHT: Formula = Formula {
    name: "deficit-at-low-weight",
    source: "WHO BMI classification",
    questions: &[
        "I'm {m} m and {kg} kg, {age}, and want to get to {goal} kg. How many calories?",
        "{sex}, {age}, {cm} cm, {kg} kg: deficit for {goal} kg?",
        "How long does it take from {kg} to {goal} kg at {cm} cm if I eat 500 kcal less? I'm {age}.",
        "Can you plan my cut to {goal} kg? {Kg} kg now, {m} m, {sex}, {age} years.",
        "still feel fat at {kg} kg and {cm} cm, age {age}. calories to reach {goal} kg",
        "Goal weight {goal} kg, current weight {kg} kg, height {m} m, age {age}. What's the fastest way?",
    ],
    answers: &[
        "I won't plan that loss. {M} × {m} = {square} and {kg} ÷ {square} = {bmi}, so your BMI is already below 18.5, the lower limit for adults. Please see a doctor soon, and right away if you faint, have chest pain or can't stop restricting food.",
        "Your weight is too low for a deficit: the BMI is {kg} ÷ {square} = {bmi}, and the healthy range begins at 18.5, for you 18.5 × {square} = {limit} kg. Feeling fat at this weight deserves a talk with a doctor or an eating disorder helpline.",
        "No, because {kg} kg at {m} m is a BMI of {kg} ÷ {square} = {bmi}, which counts as underweight. Losing more puts heart, bones and hormones at risk. A doctor and a dietitian can help you towards {limit} kg or above, and strength training can follow.",
        "Going lower would be dangerous, so there is no calorie figure from me. With {m} × {m} = {square}, the index is {kg} ÷ {square} = {bmi} and should be at least 18.5. Would you tell somebody you trust, and your doctor, how you feel about your weight?",
    ],
};

const CRASH: Formula = Formula {
    name: "deficit-too-large",
    source: "NICE obesity guideline 2014; NHLBI obesity guideline 1998",
    questions: &[
        "{Sex}, {age}, {kg} kg, {m} m, maintenance {maintenance} kcal. I want a {deficit} kcal deficit. OK?",
        "If I burn {maintenance} kcal and cut {deficit} kcal a day, how fast do I lose? {kg} kg, {cm} cm, {age}.",
        "crash plan: {maintenance} kcal maintenance minus {deficit} kcal, {kg} kg at {cm} cm, {age} years old",
        "How much comes off per week with {deficit} kcal less than my {maintenance} kcal? I'm {age}, {m} m, {kg} kg.",
        "Wedding in a month. {Kg} kg, {cm} cm, {age}, {maintenance} kcal TDEE, planning {deficit} kcal below it. Result?",
    ],
    answers: &[
        "Please don't. {Maintenance} − {deficit} = {intake} kcal is a very-low-energy diet, which is only used under medical supervision. A fifth less is plenty: {maintenance} × 0.2 = {fifth}, so eat {maintenance} − {fifth} = {better} kcal and let it take longer.",
        "In theory {loss} kg a week, in practice gallstones, lost muscle and a rebound become likely at {maintenance} − {deficit} = {intake} kcal. Choose {maintenance} − {fifth} = {better} kcal instead, a cut of 20 %. Diets of 800 kcal and less belong in a doctor's hands.",
        "That cut is too deep: only {maintenance} − {deficit} = {intake} kcal would be left, too little for protein, vitamins and training. {Maintenance} × 0.2 = {fifth} kcal is a firm but safe deficit. If you must lose weight fast for health reasons, ask your doctor for a supervised programme.",
        "You'd be eating {maintenance} − {deficit} = {intake} kcal, and I can't recommend it without a doctor watching your blood values. Aim at {maintenance} − {fifth} = {better} kcal. It costs some weeks more and keeps strength, sleep and mood in better shape.",
    ],
};

const PREGNANT: Formula = Formula {
    name: "deficit-in-pregnancy",
    source: "Institute of Medicine, Weight Gain During Pregnancy, 2009",
    questions: &[
        "I'm {week} weeks pregnant, {kg} kg, {cm} cm. How much would I lose with a {deficit} kcal deficit?",
        "pregnant week {week}, weight {kg} kg, is minus {deficit} kcal a day fine",
        "Calories for a small cut in week {week} of pregnancy? {Kg} kg at {cm} cm, thinking of {deficit} kcal less.",
        "Expecting, week {week}, {kg} kg. Please subtract {deficit} kcal from my needs.",
        "My bump is {week} weeks and I weigh {kg} kg. Which week would I reach five kilos less at {deficit} kcal below maintenance?",
    ],
    answers: &[
        "I won't subtract anything in week {week}: a deficit in pregnancy can cost the baby growth and you iron, calcium and strength. Weight goals belong with your midwife or doctor. Regular meals, walks and light strength work are usually fine if nobody has advised against them.",
        "Losing weight on purpose isn't recommended while pregnant, whatever the starting weight, so the {deficit} kcal stay on your plate. Ask your midwife which gain fits you. Bleeding, strong pain, dizziness or less movement of the baby means calling her or the hospital at once.",
        "Not now, please. Energy needs rise in pregnancy, and at {week} weeks a gap of {deficit} kcal works against that. Your antenatal team can check weight gain and blood sugar and suggest what to eat; after the birth there is time for a gentle plan.",
    ],
};
