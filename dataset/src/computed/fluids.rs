//! Sweat, what to drink afterwards, and caffeine in drinks.

use super::figures::{hundredths, tenths, whole};
use super::formula::{Formula, Kind, Slots};

pub fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (name, sport, minutes) in [
        ("run", "a run", (45, 120)),
        ("ride", "a bike ride", (60, 150)),
        ("match", "a football match", (90, 90)),
        ("gym", "a hard gym session", (60, 90)),
    ] {
        kinds.push(SWEAT.kind(name, move |dice| {
            let minutes = dice.stepped(minutes.0, minutes.1, 15) as f64;
            let hours = minutes / 60.0;
            let before = dice.between(540, 920) as f64 / 10.0;
            let drunk = dice.between(2, 8) as f64 / 10.0;
            // 0.5 to 1.4 litres an hour, and never heavier afterwards.
            let sweat = (hours * dice.between(5, 14) as f64).round() / 10.0;
            let lost = (sweat - drunk).max(0.1);
            let sweat = lost + drunk;
            Slots::new()
                .with("sport", sport)
                .with("minutes", minutes)
                .with("hours", hundredths(hours))
                .with("before", tenths(before))
                .with("after", tenths(before - lost))
                .with("drunk", tenths(drunk))
                .with("lost", tenths(lost))
                .with("sweat", tenths(sweat))
                .with("rate", format!("{:.2}", sweat / hours))
                .with("percent", tenths(lost / before * 100.0))
        }));
    }
    for (name, sport) in
        [("after-running", "a long run"), ("after-team-sport", "football"), ("after-cycling", "a bike tour")]
    {
        kinds.push(REFILL.kind(name, move |dice| {
            let before = dice.between(550, 900) as f64 / 10.0;
            let lost = dice.between(6, 22) as f64 / 10.0;
            Slots::new()
                .with("sport", sport)
                .with("before", tenths(before))
                .with("after", tenths(before - lost))
                .with("lost", tenths(lost))
                .with("least", hundredths(lost * 1.25))
                .with("most", hundredths(lost * 1.5))
        }));
    }
    for (name, whom, limit, safety) in
        [("adults", "I'm a healthy adult", 400.0, false), ("pregnancy", "I'm pregnant", 200.0, true)]
    {
        let kind = CAFFEINE.kind(name, move |dice| {
            let (coffees, teas) = (dice.between(1, if safety { 2 } else { 4 }) as f64, dice.between(1, 4) as f64);
            let total = coffees * 90.0 + teas * 50.0;
            let verdict = if total > limit { "above" } else { "within" };
            Slots::new()
                .with("whom", whom)
                .with("coffees", coffees)
                .with("teas", teas)
                .with("cups_of_coffee", counted(coffees, "filter coffee"))
                .with("cups_of_tea", counted(teas, "black tea"))
                .with("coffee_mg", whole(coffees * 90.0))
                .with("tea_mg", whole(teas * 50.0))
                .with("total", whole(total))
                .with("limit", limit)
                .with("verdict", verdict)
                .with("gap", whole((total - limit).abs()))
        });
        kinds.push(if safety { kind.about_safety() } else { kind });
    }
    kinds
}

fn counted(count: f64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1.0 { "" } else { "s" })
}

const SWEAT: Formula = Formula {
    name: "sweat-rate",
    source: "ACSM position stand on exercise and fluid replacement, 2007",
    questions: &[
        "{before} kg before {sport}, {after} kg after, drank {drunk} l in {minutes} minutes. Sweat rate?",
        "How much do I sweat per hour? {Sport}, {minutes} min: {before} kg to {after} kg with {drunk} litres drunk.",
        "Weighed in at {before} kg, out at {after} kg, {drunk} l of water in between, {minutes} minutes of {sport}.",
        "sweat test {sport} {minutes} min, {before} kg, then {after} kg, bottle {drunk} l empty",
        "My numbers from {sport}: {minutes} minutes, start {before} kg, end {after} kg, {drunk} litres of drink. Loss per hour?",
        "Can you turn {before} kg before, {after} kg afterwards and {drunk} l drunk into litres per hour? It was {sport} of {minutes} minutes.",
    ],
    answers: &[
        "About {rate} litres an hour. Weight lost is {before} − {after} = {lost} kg; with the drink, {lost} + {drunk} = {sweat} litres of sweat. Time is {minutes} ÷ 60 = {hours} hours, so {sweat} ÷ {hours} = {rate}. Repeat it in other weather.",
        "Add what left and what came in: {before} − {after} = {lost} and {lost} + {drunk} = {sweat} litres. Per hour that is {sweat} ÷ {hours} = {rate}. You ended {percent} % lighter; up to about 2 % is usually fine.",
        "Your sweat loss was {lost} + {drunk} = {sweat} litres in {hours} hours, so {sweat} ÷ {hours} = {rate} litres per hour. It is a ceiling for drinking and not a target: let thirst guide you and never come home heavier.",
        "{Rate} litres an hour, from {sweat} ÷ {hours} = {rate}. One kilo lost counts as a litre, {before} − {after} = {lost}, plus the {drunk} litres from your bottle. Heat and effort can double the figure, so test more than once.",
    ],
};

const REFILL: Formula = Formula {
    name: "refill-after-sport",
    source: "ACSM, AND and Dietitians of Canada, 2016",
    questions: &[
        "{before} kg before {sport}, {after} kg after. How much should I drink now?",
        "I came back from {sport} at {after} kg, started at {before} kg. Litres to drink?",
        "After {sport} the scale shows {after} kg instead of {before} kg, next session is tonight. Fluid?",
        "how many litres to replace, {before} kg down to {after} kg, {sport}",
        "Rehydration sum please: {sport}, {before} kg before and {after} kg afterwards.",
        "From {before} to {after} kg by {sport}: what do I drink over the next hours?",
    ],
    answers: &[
        "Between {least} and {most} litres over the next hours. You lost {before} − {after} = {lost} kg, and 1.25 to 1.5 litres per kilo replace it: {lost} × 1.25 = {least}, {lost} × 1.5 = {most}. Salty food helps you to keep it.",
        "{Before} − {after} = {lost} kg are missing. Multiply by 1.25 to 1.5, {lost} × 1.25 = {least} to {lost} × 1.5 = {most} litres, because part of it leaves again as urine. Sip it with a meal rather than all at once.",
        "Drink about {least} litres, {lost} × 1.25 = {least}, or up to {lost} × 1.5 = {most} if you train again soon. The loss itself was {before} − {after} = {lost} kg. With a full day until the next session, eating and thirst do the rest.",
    ],
};

const CAFFEINE: Formula = Formula {
    name: "caffeine-in-drinks",
    source: "EFSA scientific opinion on the safety of caffeine, 2015",
    questions: &[
        "{whom}. Is {cups_of_coffee} and {cups_of_tea} a day too much caffeine?",
        "{cups_of_coffee}, {cups_of_tea} daily, {whom}. caffeine total?",
        "Add up my caffeine: {cups_of_coffee}, {cups_of_tea}. {Whom}.",
        "How far am I from the limit with {cups_of_coffee} plus {cups_of_tea}? {Whom}.",
        "{Whom} and drink {cups_of_coffee} and {cups_of_tea} each day. All right?",
    ],
    answers: &[
        "About {total} mg, {verdict} the advised {limit} mg a day. A 200 ml filter coffee has some 90 mg and a cup of black tea 50: {coffees} × 90 = {coffee_mg}, {teas} × 50 = {tea_mg}, {coffee_mg} + {tea_mg} = {total}. Strong brews and large mugs can hold twice as much.",
        "Coffee brings {coffees} × 90 = {coffee_mg} mg, tea {teas} × 50 = {tea_mg} mg, together {coffee_mg} + {tea_mg} = {total}. The limit for you is {limit} mg a day, so you are {verdict} it by {gap} mg. Cola, energy drinks, chocolate and some painkillers count too.",
        "The total of {coffee_mg} + {tea_mg} = {total} mg lies {verdict} the {limit} mg that EFSA considers safe in your case. I counted 90 mg for a coffee and 50 for a tea. Poor sleep, a racing heart or trembling means less, whatever the sum says.",
    ],
};
