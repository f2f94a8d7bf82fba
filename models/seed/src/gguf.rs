//! Writing GGUF version 3.
//!
//! Source: the GGUF specification in ggml (`docs/gguf.md`). Keys and tensors are written in the order they are given.

const ALIGNMENT: usize = 32;

/// A metadata value.
#[derive(Clone, Debug)]
pub enum Value {
    /// An unsigned number.
    U32(u32),
    /// A real number.
    F32(f32),
    /// True or false.
    Bool(bool),
    /// Text.
    Text(String),
    /// A list.
    Array(Array),
}

/// A list of one type.
#[derive(Clone, Debug)]
pub enum Array {
    /// Texts.
    Text(Vec<String>),
    /// Signed numbers.
    I32(Vec<i32>),
    /// Real numbers.
    F32(Vec<f32>),
}

/// How a tensor's weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// Blocks of 32 signed bytes with one 16-bit scale.
    Q8_0,
}

/// A GGUF file being put together.
#[derive(Debug, Default)]
pub struct GgufWriter {
    keys: Vec<u8>,
    key_count: u64,
    infos: Vec<u8>,
    tensor_count: u64,
    data: Vec<u8>,
}

impl GgufWriter {
    /// An empty file.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key.
    pub fn key(&mut self, name: &str, value: &Value) {
        self.key_count += 1;
        put_text(&mut self.keys, name);
        let keys = &mut self.keys;
        match value {
            Value::U32(number) => {
                put_u32(keys, 4);
                put_u32(keys, *number);
            }
            Value::F32(number) => {
                put_u32(keys, 6);
                keys.extend(number.to_le_bytes());
            }
            Value::Bool(truth) => {
                put_u32(keys, 7);
                keys.push(u8::from(*truth));
            }
            Value::Text(text) => {
                put_u32(keys, 8);
                put_text(keys, text);
            }
            Value::Array(array) => {
                put_u32(keys, 9);
                match array {
                    Array::Text(texts) => {
                        put_u32(keys, 8);
                        put_u64(keys, texts.len() as u64);
                        texts.iter().for_each(|text| put_text(keys, text));
                    }
                    Array::I32(numbers) => {
                        put_u32(keys, 5);
                        put_u64(keys, numbers.len() as u64);
                        numbers
                            .iter()
                            .for_each(|number| keys.extend(number.to_le_bytes()));
                    }
                    Array::F32(numbers) => {
                        put_u32(keys, 6);
                        put_u64(keys, numbers.len() as u64);
                        numbers
                            .iter()
                            .for_each(|number| keys.extend(number.to_le_bytes()));
                    }
                }
            }
        }
    }

    /// Adds a tensor. `shape` lists the row length first, as ggml does.
    ///
    /// # Panics
    /// When `weights` is not as long as `shape` says, or rows of [`Dtype::Q8_0`] are not multiples of 32.
    pub fn tensor(&mut self, name: &str, shape: &[usize], dtype: Dtype, weights: &[f32]) {
        assert_eq!(
            weights.len(),
            shape.iter().product::<usize>(),
            "{name}: weights and shape agree"
        );
        self.tensor_count += 1;
        self.data
            .resize(self.data.len().next_multiple_of(ALIGNMENT), 0);
        put_text(&mut self.infos, name);
        put_u32(&mut self.infos, shape.len() as u32);
        shape
            .iter()
            .for_each(|extent| put_u64(&mut self.infos, *extent as u64));
        put_u32(
            &mut self.infos,
            match dtype {
                Dtype::F32 => 0,
                Dtype::F16 => 1,
                Dtype::Q8_0 => 8,
            },
        );
        put_u64(&mut self.infos, self.data.len() as u64);
        match dtype {
            Dtype::F32 => weights
                .iter()
                .for_each(|weight| self.data.extend(weight.to_le_bytes())),
            Dtype::F16 => weights
                .iter()
                .for_each(|weight| self.data.extend(half(*weight).to_le_bytes())),
            Dtype::Q8_0 => {
                assert_eq!(shape[0] % 32, 0, "{name}: rows are whole blocks");
                for block in weights.chunks_exact(32) {
                    let largest = block
                        .iter()
                        .fold(0f32, |most, weight| most.max(weight.abs()));
                    let scale = largest / 127.0;
                    self.data.extend(half(scale).to_le_bytes());
                    for weight in block {
                        let steps = if scale == 0.0 { 0.0 } else { weight / scale };
                        self.data
                            .push((steps.round().clamp(-127.0, 127.0) as i8).to_le_bytes()[0]);
                    }
                }
            }
        }
    }

    /// The file.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        put_u32(&mut file, 3);
        put_u64(&mut file, self.tensor_count);
        put_u64(&mut file, self.key_count);
        file.extend(self.keys);
        file.extend(self.infos);
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file.extend(self.data);
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file
    }
}

fn put_u32(into: &mut Vec<u8>, number: u32) {
    into.extend(number.to_le_bytes());
}

fn put_u64(into: &mut Vec<u8>, number: u64) {
    into.extend(number.to_le_bytes());
}

fn put_text(into: &mut Vec<u8>, text: &str) {
    put_u64(into, text.len() as u64);
    into.extend(text.as_bytes());
}

/// IEEE 754 binary16, rounded to nearest, ties to even. Weights are finite and smaller than 65504.
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let exponent = ((bits >> 23) & 0xff) as i32 - 127;
    let mantissa = (bits & 0x007f_ffff) | 0x0080_0000;
    if exponent < -25 {
        return sign;
    }
    // Bits of the mantissa that do not fit: 13, and more for numbers below 2^-14.
    let dropped = if exponent < -14 {
        13 + (-14 - exponent)
    } else {
        13
    };
    let kept = mantissa >> dropped;
    let rest = mantissa & ((1 << dropped) - 1);
    let halfway = 1 << (dropped - 1);
    let rounded = kept + u32::from(rest > halfway || (rest == halfway && kept & 1 == 1));
    // The hidden bit of a normal number adds one to the exponent field, so that a carry moves into it.
    let field = if exponent < -14 {
        rounded
    } else {
        rounded + (((exponent + 14) as u32) << 10)
    };
    sign | field as u16
}

#[cfg(test)]
mod tests {
    use super::half;

    #[test]
    fn halves_round_to_nearest_even() {
        // Value and bits from IEEE 754: exact numbers, halfway cases both ways, subnormals, zero.
        for (value, bits) in [
            (0.0, 0x0000),
            (1.0, 0x3c00),
            (-2.0, 0xc000),
            (0.1, 0x2e66),
            (65504.0, 0x7bff),
            (1.0 + 1.0 / 2048.0, 0x3c00),
            (1.0 + 3.0 / 2048.0, 0x3c02),
            (2f32.powi(-14), 0x0400),
            (2f32.powi(-24), 0x0001),
            (2f32.powi(-25), 0x0000),
            (3.0 * 2f32.powi(-25), 0x0002),
            (2047.9999, 0x6800),
        ] {
            assert_eq!(half(value), bits, "{value}");
        }
    }
}
