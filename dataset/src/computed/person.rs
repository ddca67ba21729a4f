//! Adults with plausible figures.

use super::figures::height;
use super::formula::Slots;
use crate::dice::Dice;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sex {
    Woman,
    Man,
}

pub const SEXES: [Sex; 2] = [Sex::Woman, Sex::Man];

impl Sex {
    pub fn plural(self) -> &'static str {
        match self {
            Sex::Woman => "women",
            Sex::Man => "men",
        }
    }
}

pub struct Person {
    pub sex: Sex,
    pub age: i64,
    pub cm: i64,
    pub kg: i64,
}

impl Person {
    /// `bmi` in tenths, lowest and highest.
    pub fn draw(dice: &mut Dice, sex: Sex, ages: (i64, i64), bmi: (i64, i64)) -> Self {
        let age = dice.between(ages.0, ages.1);
        let cm = match sex {
            Sex::Woman => dice.between(154, 178),
            Sex::Man => dice.between(166, 192),
        };
        let square = (cm * cm) as f64 / 10_000.0;
        let (lightest, heaviest) = (bmi.0 as f64 / 10.0 * square, bmi.1 as f64 / 10.0 * square);
        // Inwards, so that the rounded weight stays within the limits.
        Self { sex, age, cm, kg: dice.between(lightest.ceil() as i64, heaviest.floor() as i64) }
    }

    pub fn metres(&self) -> f64 {
        self.cm as f64 / 100.0
    }

    pub fn bmi(&self) -> f64 {
        self.kg as f64 / (self.metres() * self.metres())
    }

    pub fn slots(&self) -> Slots {
        let (person, female) = match self.sex {
            Sex::Woman => ("woman", "female"),
            Sex::Man => ("man", "male"),
        };
        Slots::new()
            .with("sex", person)
            .with("sexes", self.sex.plural())
            .with("female", female)
            .with("age", self.age)
            .with("cm", self.cm)
            .with("m", height(self.metres()))
            .with("kg", self.kg)
    }
}
