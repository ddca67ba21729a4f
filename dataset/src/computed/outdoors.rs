//! Sums of the track, the pool, the road and the hill: one group each, and no other topic tells their facts.

use super::figures::{clock, hours_and_minutes, hundredths, rounded_to, tenths, whole};
use super::formula::{Formula, Kind, Slots};

pub fn kinds() -> Vec<Kind> {
    vec![
        LAPS.only_kind(|dice| {
            let pace = dice.stepped(225, 420, 5) as f64;
            let laps = dice.between(4, 12) as f64;
            Slots::new()
                .with("pace", clock(pace))
                .with("per_km", pace)
                .with("lap", whole(pace * 0.4))
                .with("lap_clock", clock(pace * 0.4))
                .with("laps", laps)
                .with("metres", whole(laps * 400.0))
        }),
        POOL.only_kind(|dice| {
            let metres = dice.pick(&[400.0, 600.0, 800.0, 1_000.0, 1_500.0, 2_000.0]);
            let seconds = dice.between(100, 175) as f64 * metres / 100.0;
            Slots::new()
                .with("metres", whole(metres))
                .with("time", clock(seconds))
                .with("seconds", whole(seconds))
                .with("hundreds", metres / 100.0)
                .with("per_100", whole(seconds * 100.0 / metres))
                .with("pace", clock(seconds * 100.0 / metres))
                .with("lengths", metres / 25.0)
        }),
        RIDE.only_kind(|dice| {
            let (km, speed) = (dice.between(24, 130) as f64, dice.between(16, 31) as f64);
            Slots::new()
                .with("km", km)
                .with("speed", speed)
                .with("hours", hundredths(km / speed))
                .with("time", hours_and_minutes(km / speed * 60.0))
                .with("minutes", whole(km / speed * 60.0))
                .with("pause", whole(km / 25.0 * 5.0))
        }),
        INTERVALS.only_kind(|dice| {
            let (times, hard, easy) =
                (dice.between(4, 10) as f64, dice.between(1, 4) as f64, dice.between(1, 3) as f64);
            let (warm_up, cool_down) = (dice.stepped(10, 20, 5) as f64, dice.pick(&[5.0, 10.0]));
            let block = times * (hard + easy);
            Slots::new()
                .with("times", times)
                .with("hard", hard)
                .with("easy", easy)
                .with("round", hard + easy)
                .with("warm_up", warm_up)
                .with("cool_down", cool_down)
                .with("block", block)
                .with("fast", times * hard)
                .with("total", warm_up + block + cool_down)
        }),
        INCLINE.only_kind(|dice| {
            let (km, percent) = (dice.between(15, 80) as f64 / 10.0, dice.between(2, 12) as f64);
            Slots::new()
                .with("km", tenths(km))
                .with("percent", percent)
                .with("metres", whole(km * 1_000.0))
                .with("climb", whole(km * 10.0 * percent))
                .with("floors", whole(km * 10.0 * percent / 3.0))
        }),
        GRADIENT.only_kind(|dice| {
            let km = dice.between(12, 90) as f64 / 10.0;
            let climb = rounded_to(10.0, km * dice.between(30, 140) as f64);
            Slots::new()
                .with("climb", climb)
                .with("km", tenths(km))
                .with("metres", whole(km * 1_000.0))
                .with("percent", tenths(climb / km / 10.0))
                .with("per_km", whole(climb / km))
        }),
        STAIRS.only_kind(|dice| {
            let (floors, steps) = (dice.between(4, 22) as f64, dice.between(16, 20) as f64);
            let cm = dice.between(16, 19) as f64;
            Slots::new()
                .with("floors", floors)
                .with("steps", steps)
                .with("cm", cm)
                .with("all_steps", floors * steps)
                .with("metres", tenths(floors * steps * cm / 100.0))
        }),
        STRIDES.only_kind(|dice| {
            let (cadence, stride) = (dice.between(158, 184) as f64, dice.between(80, 125) as f64);
            Slots::new()
                .with("cadence", cadence)
                .with("cm", stride)
                .with("metres", tenths(cadence * stride / 100.0))
                .with("speed", tenths(cadence * stride * 60.0 / 100_000.0))
        }),
    ]
}

const LAPS: Formula = Formula {
    name: "track-laps",
    source: "",
    questions: &[
        "What's a 400 m lap at {pace} per kilometre? I plan {laps} laps.",
        "{pace} min/km on the track, lap time? {laps} rounds",
        "Coach wants {laps} laps at {pace} a kilometre. Which split per lap of 400 m, and how far is it in all?",
        "How many seconds for one stadium round of 400 m if I run {pace} per km, {laps} times?",
        "Track session: {laps} x 400 m in {pace} pace. Lap split please.",
    ],
    answers: &[
        "Each lap should take {lap_clock}. {Pace} is {per_km} seconds, and 400 m is 0.4 km: {per_km} × 0.4 = {lap} seconds. {Laps} laps cover {laps} × 400 = {metres} m on the inside lane.",
        "Run {lap} seconds a lap, from {per_km} × 0.4 = {lap}. The whole session is {laps} × 400 = {metres} m without the way there. In outer lanes a lap is longer, about 7 m for each lane.",
        "The split is {lap_clock}, as {per_km} × 0.4 = {lap} seconds. With {laps} × 400 = {metres} m in sum, start the first lap a second too slow rather than too fast.",
    ],
};

const POOL: Formula = Formula {
    name: "pool-pace",
    source: "",
    questions: &[
        "I swam {metres} m in {time}. What's my pace per 100 m?",
        "{metres} metres, {time}, per 100?",
        "Pool session, {metres} m freestyle in {time}: average for a hundred metres, and how many 25 m lengths?",
        "how fast per 100 m is {time} for {metres} m",
        "My watch died in the water. {Metres} m took {time}; pace?",
    ],
    answers: &[
        "Your pace is {pace} per 100 m. {Time} is {seconds} seconds, the distance has {hundreds} hundreds, and {seconds} ÷ {hundreds} = {per_100}. In a 25 m pool that was {metres} ÷ 25 = {lengths} lengths.",
        "On average {pace} for a hundred metres, because {seconds} ÷ {hundreds} = {per_100} seconds. Turns and pushing off flatter the time in a short pool, so open water will be slower.",
        "Divide {seconds} seconds by {hundreds}: {seconds} ÷ {hundreds} = {per_100}, which is {pace} per 100 m. You did {metres} ÷ 25 = {lengths} lengths of 25 m; rests at the wall are included if you didn't stop the clock.",
    ],
};

const RIDE: Formula = Formula {
    name: "ride-duration",
    source: "",
    questions: &[
        "How long do I need for {km} km by bike at {speed} km/h?",
        "{km} km, {speed} km/h average, riding time?",
        "Tour of {km} km on Saturday, I usually manage {speed} km/h. When will I be back?",
        "If my cycling average is {speed} km/h, what does {km} km take?",
        "bike tour planning: distance {km} km, speed {speed} km/h, plus breaks",
    ],
    answers: &[
        "About {time} (hours and minutes) of riding. Distance divided by speed is {km} ÷ {speed} = {hours} hours. Add breaks, say five minutes for each 25 km, so roughly {pause} minutes more, and some reserve for wind and hills.",
        "Count on {minutes} minutes in the saddle: {km} ÷ {speed} = {hours} hours, times 60. Averages on the computer leave out stops, so with pauses of {pause} minutes you are home later than the sum says.",
        "{Km} ÷ {speed} = {hours} hours, which reads {time} as hours and minutes. Take food and two bottles for anything beyond ninety minutes, and lights if it may get late.",
    ],
};

const INTERVALS: Formula = Formula {
    name: "interval-session-length",
    source: "",
    questions: &[
        "{times} x {hard} min hard with {easy} min easy, {warm_up} min warm-up, {cool_down} min cool-down. Total time?",
        "How long is a session of {warm_up} min warm-up, {times} rounds of {hard} min fast and {easy} min slow, {cool_down} min cool-down?",
        "interval workout length: warm-up {warm_up}, {times} times {hard} on {easy} off, cool-down {cool_down} (minutes)",
        "Will {times} repeats of {hard} min with {easy} min jog fit in my lunch break? {Warm_up} min warm-up and {cool_down} min at the end.",
        "Add it up: {warm_up} min easy, then {times} x ({hard} min hard + {easy} min easy), then {cool_down} min easy.",
    ],
    answers: &[
        "It takes {total} minutes. One round is {hard} + {easy} = {round} minutes, {times} of them {times} × {round} = {block}, and {warm_up} + {block} + {cool_down} = {total}. Only {fast} minutes of it are hard.",
        "Plan {total} minutes plus the shower. The main part lasts {times} × {round} = {block} minutes, warm-up and cool-down come on top: {warm_up} + {block} + {cool_down} = {total}. If time is short, drop a round and keep the warm-up.",
        "The sum is {warm_up} + {block} + {cool_down} = {total} minutes, where {times} × {round} = {block} is the interval part. Hard work adds up to {times} × {hard} = {fast} minutes, which is a solid dose once or twice a week.",
    ],
};

const INCLINE: Formula = Formula {
    name: "treadmill-climb",
    source: "",
    questions: &[
        "{km} km on the treadmill at {percent} % incline, how many metres up is that?",
        "treadmill {percent} % for {km} km, elevation gain?",
        "I walked {km} km with the belt at {percent} % grade. What climb should I log?",
        "How much height do {km} km at a {percent} percent slope give me indoors?",
        "Training for the Alps in the gym: {percent} % and {km} km. Metres of ascent?",
    ],
    answers: &[
        "You climbed about {climb} m. The belt ran {metres} m, and {metres} × {percent} ÷ 100 = {climb}. At 3 m a floor this equals some {floors} floors, without the descent that makes real hills hard on the legs.",
        "Log {climb} metres: {km} km is {metres} m, times the slope, {metres} × {percent} ÷ 100 = {climb}. It counts only if you don't hang on to the rails.",
        "The ascent is {metres} × {percent} ÷ 100 = {climb} m. Raise grade or distance by small steps from week to week, and do some walking downhill outdoors before a mountain tour.",
    ],
};

const GRADIENT: Formula = Formula {
    name: "hill-gradient",
    source: "",
    questions: &[
        "A climb of {climb} m over {km} km, how steep is it on average?",
        "{climb} m up in {km} km, gradient in percent?",
        "My local hill gains {climb} m in {km} km. Percent?",
        "What's the average slope of a road that rises {climb} m within {km} km?",
        "route planner says {km} km and {climb} m of ascent for the hill, so how many percent",
    ],
    answers: &[
        "It averages {percent} %. Divide the height by the distance in metres and multiply by 100: {climb} ÷ {metres} × 100 = {percent}. Ramps within it may be twice as steep, so look at the profile before you choose gears.",
        "The mean gradient is {climb} ÷ {metres} × 100 = {percent} %, or {per_km} m of height per kilometre. Go by breathing or power on a climb, because speed tells you nothing there.",
        "{Km} km are {metres} m, and {climb} ÷ {metres} × 100 = {percent} %. On foot most people change from running to walking somewhere around 15 to 20 %, and on a bike low gears save the knees.",
    ],
};

const STAIRS: Formula = Formula {
    name: "stair-metres",
    source: "",
    questions: &[
        "I take the stairs, {floors} floors a day, {steps} steps each, {cm} cm high. How many metres up?",
        "{floors} floors x {steps} steps of {cm} cm, total height?",
        "Office stairs: {steps} steps a floor, {cm} cm each, {floors} floors daily. What do I climb?",
        "how high do i get with {floors} floors if a floor has {steps} steps of {cm} cm",
        "Is {floors} floors a day much? Each has {steps} steps with {cm} cm.",
    ],
    answers: &[
        "You climb {metres} m a day. Steps: {floors} × {steps} = {all_steps}; height: {all_steps} × {cm} ÷ 100 = {metres} m. Small bouts like that add up over a working week and train legs and heart for free.",
        "{Floors} × {steps} = {all_steps} steps, and {all_steps} × {cm} ÷ 100 = {metres} metres. Use the handrail if you feel unsteady, and see a doctor if a flight or two leaves you breathless or with chest pressure.",
        "Altogether {metres} m: {floors} × {steps} = {all_steps} steps of {cm} cm make {all_steps} × {cm} ÷ 100 = {metres}. Add one floor more each week if you want a gentle progression.",
    ],
};

const STRIDES: Formula = Formula {
    name: "cadence-times-step",
    source: "",
    questions: &[
        "{cadence} steps a minute, each {cm} cm long: how fast do I run?",
        "cadence {cadence}, step length {cm} cm, speed in km/h?",
        "My watch shows {cadence} spm and steps of {cm} cm. Speed?",
        "What running speed comes from {cm} cm steps at {cadence} per minute?",
        "If I keep {cadence} steps per minute with {cm} cm each, how far do I get in a minute and in an hour?",
    ],
    answers: &[
        "You run {speed} km/h. Per minute it is {cadence} × {cm} ÷ 100 = {metres} m, and {metres} × 60 ÷ 1,000 = {speed} kilometres in an hour. Speed grows with either of the two, mostly with step length.",
        "Speed is cadence times step: {cadence} × {cm} ÷ 100 = {metres} metres a minute, so {metres} × 60 ÷ 1,000 = {speed} km/h. If your knees complain, a few more and shorter steps at the same speed can ease them.",
        "In a minute you cover {cadence} × {cm} ÷ 100 = {metres} m, in an hour {metres} × 60 ÷ 1,000 = {speed} km. Watches estimate step length, so expect an error of a few per cent.",
    ],
};
