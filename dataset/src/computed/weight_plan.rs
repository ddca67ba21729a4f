//! Weeks to a goal, maintenance from one's own log, and slow gaining.

use super::figures::{hundredths, tenths, whole};
use super::formula::{Formula, Kind, Slots};
use super::person::{Person, SEXES};

pub fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for sex in SEXES {
        for (name, kilos) in [("3-to-5-kg", (3, 5)), ("6-to-10-kg", (6, 10))] {
            kinds.push(WEEKS.kind(format!("{}-{name}", sex.plural()), move |dice| {
                // Even ten kilos less leave these people above a BMI of 23.
                let person = Person::draw(dice, sex, (22, 60), (276, 340));
                let lose = dice.between(kilos.0, kilos.1) as f64;
                let rate = dice.pick(&[0.4, 0.5, 0.6]);
                let goal = person.kg as f64 - lose;
                person
                    .slots()
                    .with("goal", goal)
                    .with("lose", lose)
                    .with("rate", rate)
                    .with("weeks", tenths(lose / rate))
                    .with("percent", hundredths(rate / person.kg as f64 * 100.0))
                    .with("goal_bmi", tenths(goal / person.metres() / person.metres()))
                    .with("gap", whole(rate * 7_700.0 / 7.0))
            }));
        }
        kinds.push(GAIN.kind(sex.plural(), move |dice| {
            let person = Person::draw(dice, sex, (19, 45), (195, 245));
            let kg = person.kg as f64;
            person
                .slots()
                .with("least", hundredths(kg * 0.0025))
                .with("most", hundredths(kg * 0.005))
                .with("least_month", tenths(kg * 0.01))
                .with("most_month", tenths(kg * 0.02))
        }));
    }
    for (name, direction, sign, factor) in [("while-losing", "lost", "+", 1.0), ("while-gaining", "gained", "−", -1.0)]
    {
        kinds.push(FROM_LOG.kind(name, move |dice| {
            let days = dice.pick(&[14.0, 21.0, 28.0]);
            let change = (dice.between(6, 20) as f64 * days / 28.0).round() / 10.0;
            let eaten = dice.stepped(1_900, 2_900, 20) as f64;
            let stored = change * 7_700.0;
            Slots::new()
                .with("direction", direction)
                .with("sign", sign)
                .with("days", days)
                .with("change", tenths(change))
                .with("eaten", whole(eaten))
                .with("stored", whole(stored))
                .with("daily", whole(stored / days))
                .with("maintenance", whole(eaten + factor * (stored / days).round()))
        }));
    }
    kinds
}

const WEEKS: Formula = Formula {
    name: "weeks-to-goal",
    source: "NHLBI obesity guideline 1998",
    questions: &[
        "I'm {age}, {m} m and {kg} kg and want to reach {goal} kg at {rate} kg a week. How long?",
        "{kg} kg to {goal} kg, {rate} kg per week, height {cm} cm, age {age}. weeks?",
        "When would a {sex} of {age} and {cm} cm be at {goal} kg, starting from {kg} kg and losing {rate} kg weekly?",
        "Planning backwards: {goal} kg is my goal, {kg} kg is today, {rate} kg a week. I'm {age} and {m} m tall. Duration?",
        "how many weeks from {kg} to {goal} kg if i lose {rate} kg weekly, {age} years, {m} m",
        "Is {goal} kg by losing {rate} kg a week doable from {kg} kg ({cm} cm, {age} years), and by when?",
    ],
    answers: &[
        "About {weeks} weeks. The difference is {kg} − {goal} = {lose} kg, and {lose} ÷ {rate} = {weeks}. Add a few weeks for holidays and stalls; {goal} kg is a BMI of {goal_bmi} at your height, a fair first stop to hold for a while.",
        "Divide what is left by the pace: {kg} − {goal} = {lose}, {lose} ÷ {rate} = {weeks} weeks. {Rate} kg is {percent} % of your weight, comfortably under 1 % a week. It takes a gap of about {gap} kcal a day.",
        "Count on {weeks} weeks or somewhat more, since {lose} ÷ {rate} = {weeks} for {kg} − {goal} = {lose} kg. The last third tends to be slower. Reaching a BMI of {goal_bmi} with strength and habits intact beats being there early.",
        "{Lose} kg at {rate} kg a week is {lose} ÷ {rate} = {weeks} weeks. A daily deficit near {gap} kcal gives that speed in theory. Tell your doctor first if you take medicines for blood pressure or diabetes, as they may need adjusting.",
    ],
};

const GAIN: Formula = Formula {
    name: "gaining-rate",
    source: "Iraki et al. 2019",
    questions: &[
        "{Kg} kg, {cm} cm, {age}: how much should I gain per week on a lean bulk?",
        "I weigh {kg} kg at {m} m and want muscle, not fat. Weekly gain?",
        "weekly weight gain goal for a {sex} of {kg} kg, {age} years, {cm} cm, lifting",
        "How fast is too fast when bulking? {Sex}, {age}, {m} m, {kg} kg.",
        "I'm {age} and {cm} cm. Going up from {kg} kg, which rate per week and month?",
    ],
    answers: &[
        "Between {least} and {most} kg a week. The advice for newer lifters is 0.25 to 0.5 % of body weight: {kg} × 0.0025 = {least} and {kg} × 0.005 = {most}. Faster than that, mainly fat is added.",
        "Take 0.25 to 0.5 % of your weight, so {kg} × 0.0025 = {least} kg up to {kg} × 0.005 = {most} kg per week. In a month of four weeks the scale may climb by {least_month} to {most_month} kg. Long-trained lifters use the lower figure.",
        "Aim for {most} kg a week at most, from {kg} × 0.005 = {most}, and be content with {kg} × 0.0025 = {least}. If your waist grows faster than your lifts, cut the surplus by 100 to 200 kcal.",
    ],
};

const FROM_LOG: Formula = Formula {
    name: "maintenance-from-log",
    source: "Hall et al. 2011",
    questions: &[
        "Ate {eaten} kcal a day on average for {days} days and {direction} {change} kg. What's my maintenance?",
        "{days} days, {eaten} kcal average, {change} kg {direction}. tdee?",
        "My log: {eaten} kcal daily over {days} days, weight trend {change} kg {direction}. How much do I burn?",
        "How do I get maintenance from my own data? I {direction} {change} kg in {days} days on {eaten} kcal.",
        "If I {direction} {change} kg during {days} days of eating {eaten} kcal, which intake would have kept me level?",
        "true expenditure: {days} days of logging, mean {eaten} kcal, {direction} {change} kg",
    ],
    answers: &[
        "Near {maintenance} kcal. The change of weight stands for {change} × 7,700 = {stored} kcal, per day {stored} ÷ {days} = {daily}. You {direction} weight, so {eaten} {sign} {daily} = {maintenance}. Water can distort short periods by a hundred kcal or more.",
        "Turn kilos into energy first: {change} × 7,700 = {stored} kcal, and {stored} ÷ {days} = {daily} a day. As you {direction}, maintenance is {eaten} {sign} {daily} = {maintenance} kcal, provided that you logged honestly.",
        "Your own figures say {eaten} {sign} {daily} = {maintenance} kcal, because {change} × 7,700 = {stored} and {stored} ÷ {days} = {daily}. That beats any formula, yet use weekly averages of the scale and not single mornings.",
    ],
};
