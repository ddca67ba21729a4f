//! Energy of an activity from its MET value.

use super::figures::{hundredths, tenths, whole};
use super::formula::{Formula, Kind, Slots};

pub fn kinds() -> Vec<Kind> {
    // Compendium of Physical Activities 2011.
    let activities = [
        ("brisk-walking", 4.3, "brisk walking"),
        ("running", 9.8, "running at 9.7 km/h"),
        ("cycling", 8.0, "moderate cycling"),
        ("swimming", 5.8, "easy lap swimming"),
        ("lifting", 3.5, "ordinary resistance training"),
        ("yoga", 2.5, "hatha yoga"),
        ("rowing-machine", 7.0, "moderate indoor rowing"),
        ("hiking", 6.0, "hiking across country"),
    ];
    activities
        .into_iter()
        .map(|(name, met, activity)| {
            ENERGY.kind(name, move |dice| {
                let kg = dice.between(52, 104) as f64;
                // Minutes whose hours print exactly.
                let minutes = dice.pick(&[30.0, 36.0, 45.0, 48.0, 54.0, 60.0, 75.0, 90.0]);
                let hours = minutes / 60.0;
                let (gross, net) = (met * kg * hours, (met - 1.0) * kg * hours);
                Slots::new()
                    .with("activity", activity)
                    .with("met", tenths(met))
                    .with("net_met", tenths(met - 1.0))
                    .with("kg", kg)
                    .with("minutes", minutes)
                    .with("hours", hundredths(hours))
                    .with("gross", whole(gross))
                    .with("net", whole(net))
                    .with("sitting", whole(kg * hours))
            })
        })
        .collect()
}

const ENERGY: Formula = Formula {
    name: "met-energy",
    source: "Compendium of Physical Activities 2011",
    questions: &[
        "How many calories do {minutes} minutes of {activity} burn at {kg} kg?",
        "{minutes} min {activity}, body weight {kg} kg: kcal?",
        "I weigh {kg} kg and did {minutes} minutes of {activity} today. What did it cost me in energy?",
        "what does {activity} for {minutes} minutes use up if you are {kg} kg",
        "My watch and the gym screen disagree. {Activity}, {minutes} min, {kg} kg: which figure is sensible?",
        "Energy of {activity}? I do it for {minutes} minutes at a time and I'm {kg} kg.",
        "Is {minutes} minutes of {activity} worth much? {kg} kg here.",
        "Calories, please: {kg} kg person, {activity}, {minutes} minutes.",
        "After {minutes} minutes of {activity} I'd like to log it. My weight: {kg} kg.",
    ],
    answers: &[
        "Roughly {gross} kcal in total. {Activity} is listed at {met} MET, and MET × kg × hours gives {met} × {kg} × {hours} = {gross}. You would have used about {sitting} kcal sitting anyway, so {net} kcal is the real extra.",
        "Multiply the MET value, {met}, by weight and hours: {met} × {kg} × {hours} = {gross} kcal. One MET is what you burn at rest; without it the sum is {net_met} × {kg} × {hours} = {net} kcal, the better figure for a food diary.",
        "{Activity} counts about {met} MET, so {met} × {kg} × {hours} = {gross} kcal. Effort, skill and terrain easily change that by 20 %, and wrist devices are no more exact. For planning I would use the net {net} kcal.",
        "Expect near {net} kcal beyond rest. The net way: {met} − 1 = {net_met} MET, then {net_met} × {kg} × {hours} = {net}. Gross, as most machines show it, the same session is {met} × {kg} × {hours} = {gross} kcal.",
        "The time is {minutes} ÷ 60 = {hours} hours. With {met} MET for {activity}, that makes {met} × {kg} × {hours} = {gross} kcal, resting use included. It is an average for adults, so take it as a rough guide.",
    ],
};
