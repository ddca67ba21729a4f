//! Pace, finishing time and treadmill speed.

use super::figures::{clock, hundredths, tenths, thousandths, whole};
use super::formula::{Formula, Kind, Slots};

/// Name of the group, kilometres, how people call it, seconds per kilometre of amateurs.
const DISTANCES: [(&str, f64, &str, (i64, i64)); 4] = [
    ("5-km", 5.0, "5 km", (260, 460)),
    ("10-km", 10.0, "10 km", (275, 470)),
    ("half-marathon", 21.0975, "21.0975 km (half marathon)", (290, 480)),
    ("marathon", 42.195, "42.195 km (marathon)", (300, 480)),
];

pub fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (name, km, distance, paces) in DISTANCES {
        kinds.push(PACE.kind(name, move |dice| {
            let time = (dice.between(paces.0, paces.1) as f64 * km / 15.0).round() * 15.0;
            let pace = time / km;
            Slots::new()
                .with("distance", distance)
                .with("km", km)
                .with("time", clock(time))
                .with("seconds", whole(time))
                .with("per_km", tenths(pace))
                .with("pace", clock(pace))
                .with("speed", tenths(3600.0 / pace))
                .with("five", clock(pace * 5.0))
        }));
        kinds.push(FINISH.kind(name, move |dice| {
            let pace = dice.between(paces.0, paces.1) as f64;
            let slots = Slots::new()
                .with("distance", distance)
                .with("km", km)
                .with("pace", clock(pace))
                .with("per_km", pace)
                .with("seconds", tenths(pace * km))
                .with("time", clock(pace * km));
            slots.with("faster", clock((pace - 5.0) * km)).with("gained", whole(5.0 * km))
        }));
    }
    for (name, low, high, gait) in
        [("walking", 44, 66, "walk"), ("jogging", 70, 95, "jog"), ("running", 98, 150, "run")]
    {
        kinds.push(SPEED.kind(name, move |dice| {
            let speed = dice.between(low, high) as f64 / 10.0;
            Slots::new()
                .with("gait", gait)
                .with("speed", tenths(speed))
                .with("minutes", thousandths(60.0 / speed))
                .with("pace", clock(3600.0 / speed))
                .with("per_km", tenths(3600.0 / speed))
                .with("half_hour", hundredths(speed / 2.0))
        }));
    }
    for (name, paces) in [("slow", (375, 480)), ("fast", (255, 374))] {
        kinds.push(MILES.kind(name, move |dice| {
            let pace = dice.between(paces.0, paces.1) as f64;
            Slots::new()
                .with("pace", clock(pace))
                .with("per_km", pace)
                .with("per_mile", tenths(pace * 1.609))
                .with("mile_pace", clock(pace * 1.609))
                .with("speed", tenths(3600.0 / pace))
        }));
    }
    kinds
}

const PACE: Formula = Formula {
    name: "pace-from-time",
    source: "",
    questions: &[
        "I ran {distance} in {time}. What pace per kilometre was that?",
        "{distance} in {time}, min per km?",
        "What average pace do I need for {distance} in {time}?",
        "Finish time {time} over {distance}: pace and speed please",
        "To run {distance} in {time}, how fast must each kilometre be?",
        "My goal is {time} for {distance}. Which kilometre split do I set on the watch?",
        "How fast is {time} on {distance}, in min/km and km/h?",
        "Someone finished {distance} in {time}; what was the average split?",
    ],
    answers: &[
        "That is {pace} per kilometre. In seconds, {time} is {seconds}, and {seconds} ÷ {km} = {per_km} seconds per kilometre. The speed is 3,600 ÷ {per_km} = {speed} km/h.",
        "Each kilometre takes {pace}. Convert {time} to {seconds} seconds and divide by the distance: {seconds} ÷ {km} = {per_km}. In a race plan for two or three seconds less, since nobody runs the perfect line and courses measure short on the watch.",
        "The average split is {pace} per kilometre, or {five} for every 5 km. The sum behind it: {seconds} ÷ {km} = {per_km} seconds, where {seconds} is {time} in seconds. Keeping it even beats a fast start.",
        "Set {pace}. {Time} equals {seconds} seconds, so {seconds} ÷ {km} = {per_km} seconds a kilometre, which is 3,600 ÷ {per_km} = {speed} km/h on a treadmill display.",
    ],
};

const FINISH: Formula = Formula {
    name: "time-from-pace",
    source: "",
    questions: &[
        "At {pace} per km, when do I finish {distance}?",
        "{pace} min/km over {distance}, finish time?",
        "If I hold {pace} a kilometre for {distance}, what will the clock show?",
        "My easy pace is {pace} per kilometre. How long would {distance} take?",
        "How long does {distance} last with every kilometre in {pace}?",
        "finish time {distance} at a steady {pace}",
        "I trained at {pace} per km all winter. What does that mean for {distance}?",
        "Pacer's card: {distance}, {pace} per kilometre. Total time?",
    ],
    answers: &[
        "You would finish in {time}. {Pace} is {per_km} seconds, and {per_km} × {km} = {seconds} seconds in all. Expect a little more in a race, because most people run somewhat further than the measured line.",
        "The clock will show about {time}: {per_km} seconds times the distance, {per_km} × {km} = {seconds} seconds. Five seconds less per kilometre would save 5 × {km} seconds and bring you to {faster}.",
        "{Time}, if you keep it even. One kilometre takes {per_km} seconds, {km} of them {per_km} × {km} = {seconds}, which is {time} as hours, minutes and seconds. Hills, heat and drink stations cost extra.",
        "Multiply: {per_km} × {km} = {seconds} seconds, and that reads {time}. Start a few seconds slower than {pace} and you are more likely to hold it to the end.",
    ],
};

const SPEED: Formula = Formula {
    name: "pace-from-speed",
    source: "",
    questions: &[
        "I {gait} at {speed} km/h on the treadmill. What's that per kilometre?",
        "treadmill {speed} km/h = how many min/km",
        "Convert a {gait} of {speed} km/h to minutes per kilometre, please.",
        "The display shows {speed} km/h. Pace, if I {gait}?",
        "What pace is {speed} kilometres an hour? I want to {gait} outside at the same effort.",
        "How long do I need for one kilometre at {speed} km/h, and how far do I get in half an hour?",
        "{speed} km/h {gait}, pace?",
    ],
    answers: &[
        "It is {pace} per kilometre. Divide 60 by the speed, 60 ÷ {speed} = {minutes} minutes; the part behind the point times 60 gives the seconds. In half an hour you cover {half_hour} km.",
        "{Pace} a kilometre: an hour has 3,600 seconds and 3,600 ÷ {speed} = {per_km} seconds. Indoors there is no wind to push against, so outside the same pace may feel a bit harder.",
        "At that speed each kilometre takes {pace}, because 60 ÷ {speed} = {minutes} minutes. Thirty minutes of it make {speed} ÷ 2 = {half_hour} km, if you don't count the warm-up.",
    ],
};

const MILES: Formula = Formula {
    name: "mile-pace",
    source: "",
    questions: &[
        "My pace is {pace} per kilometre. What is that per mile?",
        "{pace} min/km in min/mile?",
        "An American friend asks for my mile pace. I run {pace} a kilometre.",
        "Convert {pace} per km to miles.",
        "How fast is {pace} a kilometre for somebody who counts in miles?",
        "mile split at {pace} per kilometre, and the speed in km/h?",
    ],
    answers: &[
        "It corresponds to {mile_pace} per mile. A mile is 1.609 km, a kilometre takes you {per_km} seconds, and {per_km} × 1.609 = {per_mile} seconds. Converted to speed, 3,600 ÷ {per_km} = {speed} km/h.",
        "{Mile_pace} a mile. Write the pace in seconds, {per_km}, and multiply by 1.609 kilometres: {per_km} × 1.609 = {per_mile}. Going the other way you divide by 1.609.",
        "Per mile you need {mile_pace}, since {per_km} × 1.609 = {per_mile} seconds. As a rough rule in your head, add six tenths to the kilometre time.",
    ],
};
