//! Finds `10 × 68 = 680` and `680 + 1,050 − 161 = 1,569` in a text and works them out again.

use std::fmt;

#[derive(Debug, PartialEq)]
pub struct Equation {
    /// Numbers and the operators between them.
    numbers: Vec<f64>,
    operators: Vec<char>,
    result: f64,
    /// Printed after the point of the result.
    decimals: usize,
    /// Whether an input is printed with two decimals or more, and may have been rounded for it.
    rounded_input: bool,
}

impl Equation {
    /// True to the last printed digit, with room for the rounding of the printed inputs.
    pub fn holds(&self) -> bool {
        let value = self.value();
        let of_inputs = if self.rounded_input { 0.0006 * value.abs() } else { 1e-6 };
        (value - self.result).abs() <= 0.5 * 10_f64.powi(-(self.decimals as i32)) + of_inputs
    }

    /// Multiplication and division first.
    fn value(&self) -> f64 {
        let mut terms = vec![self.numbers[0]];
        for (operator, number) in self.operators.iter().zip(&self.numbers[1..]) {
            let last = terms.len() - 1;
            match operator {
                '×' => terms[last] *= number,
                '÷' => terms[last] /= number,
                '−' => terms.push(-number),
                _ => terms.push(*number),
            }
        }
        terms.iter().sum()
    }
}

impl fmt::Display for Equation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?} {:?} = {} (it is {})", self.numbers, self.operators, self.result, self.value())
    }
}

pub fn equations(text: &str) -> Vec<Equation> {
    let words: Vec<&str> = text.split_whitespace().collect();
    (0..words.len()).filter(|at| words[*at] == "=").filter_map(|at| equation(&words, at)).collect()
}

/// The longest run of number, operator, number before the equals sign.
fn equation(words: &[&str], equals: usize) -> Option<Equation> {
    let result = words.get(equals + 1)?.trim_end_matches(['.', ',', ';', ':', ')']);
    let (mut numbers, mut operators) = (vec![number(words[equals - 1])?], Vec::new());
    let mut at = equals - 1;
    while at >= 2 {
        let (Some(operator), Some(number)) = (operator(words[at - 1]), number(words[at - 2].trim_start_matches('(')))
        else {
            break;
        };
        operators.insert(0, operator);
        numbers.insert(0, number);
        at -= 2;
    }
    let rounded_input = words[at..equals].iter().any(|word| decimals(word) >= 2);
    let equation = Equation { numbers, operators, result: number(result)?, decimals: decimals(result), rounded_input };
    (!equation.operators.is_empty()).then_some(equation)
}

fn number(word: &str) -> Option<f64> {
    word.replace(',', "").parse().ok().filter(|_| word.ends_with(|letter: char| letter.is_ascii_digit()))
}

fn decimals(word: &str) -> usize {
    word.split_once('.').map_or(0, |(_, decimals)| decimals.len())
}

fn operator(word: &str) -> Option<char> {
    ["×", "÷", "+", "−"].contains(&word).then(|| word.chars().next()).flatten()
}

#[test]
fn equations_are_found_and_a_wrong_one_does_not_hold() {
    let found = equations("Take 10 × 68 = 680, then 680 + 1,050 − 5 × 34 = 1,560; 2 ÷ 3 = 0.67.");
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(Equation::holds));
    assert!(!equations("10 × 68 = 690")[0].holds());
    assert!(!equations("0.7 × 41 = 28.8")[0].holds());
}
