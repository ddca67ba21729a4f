//! Race times by Riegel.

use super::figures::{clock, tenths, thousandths, whole};
use super::formula::{Formula, Kind, Slots};

pub fn kinds() -> Vec<Kind> {
    // Group, known and new kilometres, seconds per kilometre on the known distance.
    let races = [
        ("5-to-10-km", 5.0, 10.0, (235, 420)),
        ("5-km-to-half", 5.0, 21.0975, (235, 400)),
        ("10-km-to-half", 10.0, 21.0975, (240, 430)),
        ("half-to-marathon", 21.0975, 42.195, (250, 430)),
        ("10-to-15-km", 10.0, 15.0, (240, 440)),
    ];
    races
        .into_iter()
        .map(|(name, known, new, paces)| {
            RIEGEL.kind(name, move |dice| {
                let seconds = (dice.between(paces.0, paces.1) as f64 * known / 5.0).round() * 5.0;
                let factor = f64::powf(new / known, 1.06);
                // From the printed factor, so that the sum in the answer comes out.
                let predicted = seconds * (factor * 1000.0).round() / 1000.0;
                Slots::new()
                    .with("known", race(known))
                    .with("new", race(new))
                    .with("time", clock(seconds))
                    .with("seconds", whole(seconds))
                    .with("ratio", thousandths(new / known))
                    .with("factor", thousandths(factor))
                    .with("predicted_seconds", tenths(predicted))
                    .with("predicted", clock(predicted))
                    .with("pace", clock(predicted / new))
            })
        })
        .collect()
}

fn race(km: f64) -> &'static str {
    match km {
        5.0 => "5 km",
        10.0 => "10 km",
        15.0 => "15 km",
        21.0975 => "21.0975 km",
        _ => "42.195 km",
    }
}

const RIEGEL: Formula = Formula {
    name: "riegel",
    source: "Riegel 1981",
    questions: &[
        "My best over {known} is {time}. What could I run over {new}?",
        "{known} in {time}, prediction for {new}?",
        "Riegel estimate please: {time} for {known}, next race {new}.",
        "If {known} takes me {time}, which time is realistic for {new}?",
        "I've entered a race of {new}. My last {known} took {time}. Target?",
        "what does {time} on {known} translate to over {new}",
        "Predict my {new} from a recent {known} in {time}.",
        "How do I work out a {new} goal when all I have is {time} for {known}?",
    ],
    answers: &[
        "About {predicted}. Riegel multiplies the known time by the distance ratio to the power 1.06: the ratio is {ratio}, the factor {factor}, and {seconds} × {factor} = {predicted_seconds} seconds. It assumes that you have trained for the longer distance.",
        "The formula says {predicted}, or {pace} per kilometre. Your time is {seconds} seconds, the ratio {ratio} to the power 1.06 is {factor}, and {seconds} × {factor} = {predicted_seconds}. Heat, hills or thin mileage easily add a few per cent.",
        "Expect {predicted} on a good day: {seconds} × {factor} = {predicted_seconds} seconds, where {factor} is {ratio} to the power 1.06. The exponent above 1 stands for the fatigue that comes with distance, so the pace drops to {pace} per kilometre.",
        "Aim for {pace} per kilometre and {predicted} in all. Convert {time} to {seconds} seconds and multiply by {ratio} raised to 1.06, that is {factor}: {seconds} × {factor} = {predicted_seconds}. A training race over half the new distance is a good test.",
        "{Predicted} would match your result. The step from {known} to {new} costs the factor {factor} ({ratio} to the power 1.06), so {seconds} × {factor} = {predicted_seconds} seconds. Treat it as the fast end if your long runs are few.",
    ],
};
