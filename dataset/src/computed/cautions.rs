//! Sums where the formula does not hold or the result is a warning.

use super::figures::{tenths, whole};
use super::formula::{Formula, Kind, Slots};
use super::person::{Person, SEXES};

pub fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    kinds.push(BETA_BLOCKER.only_kind(|dice| {
        let age = dice.between(42, 74) as f64;
        Slots::new()
            .with("age", age)
            .with("rest", dice.between(48, 62))
            .with("by_age", tenths(0.7 * age))
            .with("exact", tenths(208.0 - 0.7 * age))
            .with("low", dice.pick(&[50, 60, 70]))
    }));
    kinds.push(KIDNEY.only_kind(|dice| {
        let kg = dice.between(55, 98) as f64;
        let per_kg = dice.pick(&[1.6, 1.8, 2.0, 2.2]);
        Slots::new().with("kg", kg).with("per_kg", tenths(per_kg)).with("grams", whole(kg * per_kg))
    }));
    for sex in SEXES {
        kinds.push(UNPLANNED.kind(sex.plural(), move |dice| {
            let person = Person::draw(dice, sex, (35, 78), (215, 290));
            let lost = (person.kg as f64 * dice.between(55, 110) as f64 / 1_000.0).round();
            person
                .slots()
                .with("lost", lost)
                .with("now", person.kg as f64 - lost)
                .with("percent", tenths(lost / person.kg as f64 * 100.0))
                .with("months", dice.pick(&["three", "four", "five", "six"]))
                .with("five", tenths(person.kg as f64 * 0.05))
        }));
    }
    for (name, event) in [("marathon", "a slow marathon"), ("hike", "a long hike"), ("ride", "a charity ride")] {
        kinds.push(OVERDRINKING.kind(name, move |dice| {
            let (litres, hours) = (dice.between(11, 16) as f64 / 10.0, dice.between(4, 7) as f64);
            Slots::new()
                .with("event", event)
                .with("litres", tenths(litres))
                .with("hours", hours)
                .with("total", tenths(litres * hours))
                .with("half", tenths(0.5 * hours))
        }));
    }
    kinds.into_iter().map(Kind::about_safety).collect()
}

const BETA_BLOCKER: Formula = Formula {
    name: "zones-on-medicine",
    source: "ACSM Guidelines for Exercise Testing and Prescription",
    questions: &[
        "I'm {age}, on a beta-blocker, resting pulse {rest}. What's {low} % by Karvonen?",
        "{age}, bisoprolol since last year, rest {rest} bpm. max heart rate?",
        "Since my heart attack I take metoprolol. Age {age}, pulse {rest}: training zone at {low} %?",
        "Does 208 minus 0.7 times {age} hold with blood pressure tablets of the beta-blocker sort? Resting {rest}.",
        "Beta-blocker, {age} years, {rest} at rest, want to train at {low} percent. Which beats?",
        "my pulse never gets up since the beta blocker, im {age} with {rest} at rest, how do i set zones",
    ],
    answers: &[
        "No formula fits you at the moment. It would say 208 − {by_age} = {exact}, but beta-blockers often lower the maximum by 20 to 30 beats, so a zone from it would be too hard. Use the talk test, and ask your cardiologist for an exercise test that gives your own limits.",
        "I'd leave the sum aside: 0.7 × {age} = {by_age} and 208 − {by_age} = {exact} hold for people without heart medicine. Train by feel, about 12 to 14 on the 6 to 20 Borg scale. Never skip the tablets for a workout, and stop for chest pain, dizziness or fainting.",
        "The age formula gives {exact}, yet your medicine keeps the pulse well below that, and chasing the number would overload you. Go at a pace where you can still speak in sentences. A stress test at your clinic is the safe way to get real zones.",
    ],
};

const KIDNEY: Formula = Formula {
    name: "protein-with-kidney-disease",
    source: "KDIGO 2024 clinical practice guideline for chronic kidney disease",
    questions: &[
        "I have chronic kidney disease and weigh {kg} kg. Is {per_kg} g of protein per kg right for building muscle?",
        "{kg} kg, kidney function down to half, gym says {per_kg} g/kg protein. how many grams",
        "Stage three kidney disease, {kg} kg. Please multiply {per_kg} g per kilo for me.",
        "With one weak kidney at {kg} kg, can I follow the {per_kg} g per kg rule?",
        "Protein at {per_kg} g per kg for {kg} kg with protein in my urine, what's the total?",
    ],
    answers: &[
        "The product is {kg} × {per_kg} = {grams} g, but please don't eat that much on your own decision. With reduced kidney function, guidelines advise about 0.8 g per kg and against high-protein diets. Your kidney doctor and a renal dietitian set the right figure.",
        "That rule, {kg} × {per_kg} = {grams} g, is for healthy kidneys. In kidney disease extra protein can speed up the damage, and how much you may have depends on your blood and urine tests. Ask your nephrologist first; strength training itself is usually welcome.",
        "Don't use {grams} g as a target. {Kg} × {per_kg} = {grams} is easy to calculate, yet your kidneys have to deal with it, and they are already strained. Bring the question and your training plan to the kidney clinic before changing anything, powders included.",
    ],
};

const UNPLANNED: Formula = Formula {
    name: "unplanned-loss",
    source: "",
    questions: &[
        "I lost {lost} kg in {months} months without trying, from {kg} to {now} kg at {age}. What percent is it?",
        "{kg} kg before, {now} kg now, {months} months, no diet, age {age}. percentage?",
        "My trousers are loose: {now} kg instead of {kg} kg within {months} months, and I eat as always. I'm {age}. Nice, or not?",
        "How many percent are {lost} kg off {kg} kg? It just happened over {months} months, {sex} of {age}.",
        "dropped from {kg} to {now} kilos in {months} months, didnt change anything, {age} years, percent?",
    ],
    answers: &[
        "It is {percent} %, from {lost} ÷ {kg} × 100 = {percent}. More than 5 % within six to twelve months without trying needs a medical check, so please make an appointment this week. Go sooner if you have fever, night sweats, blood in the stool or trouble swallowing.",
        "You've lost {kg} − {now} = {lost} kg, and {lost} ÷ {kg} × 100 = {percent} %. For you the warning line of 5 % is {kg} × 0.05 = {five} kg. Thyroid, sugar, gut, mood and other causes can be behind it; let a doctor look into it soon.",
        "{Percent} %, and that is not a success to enjoy yet: {lost} ÷ {kg} × 100 = {percent}. Loss that you didn't plan should be explained before anything else. See your doctor in the next days, bring a list of medicines and symptoms, and don't diet meanwhile.",
    ],
};

const OVERDRINKING: Formula = Formula {
    name: "drinking-too-much",
    source: "Hew-Butler et al. 2015, consensus on exercise-associated hyponatraemia",
    questions: &[
        "I plan {litres} litres of water an hour for {event} of {hours} hours. How much do I carry?",
        "{event}, {hours} h, {litres} l per hour. total?",
        "To be safe I want to drink {litres} litres each hour of {event}, about {hours} hours. What's the sum?",
        "Better too much than too little? {Hours} hours of {event} with {litres} litres of plain water an hour.",
        "How many litres are {litres} an hour over {hours} hours? It's for {event}.",
    ],
    answers: &[
        "The sum is {litres} × {hours} = {total} litres, and please don't drink that much. Beyond what you sweat, water dilutes the blood's sodium, which can cause confusion, seizures and worse. Drink when thirsty, often near 0.4 to 0.8 litres an hour, and don't gain weight on the way.",
        "{Litres} × {hours} = {total} litres, far more than most people sweat at that effort. Overdrinking can end in dangerously low sodium. Half a litre an hour, {hours} × 0.5 = {half} litres, with food or salt, and thirst as the guide, is closer. Headache, vomiting and confusion are an emergency.",
        "Less is safer here. {Litres} × {hours} = {total} litres of plain water would outrun your kidneys and sweat. Start with what thirst asks for, weigh yourself before and after a training day to learn your loss, and never finish heavier than you began.",
    ],
};
