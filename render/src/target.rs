//! What a field is drawn into: premultiplied colour with alpha, and depth weighted by it.

use crate::error::Result;
use crate::gpu::Gpu;

/// Two textures of one size.
#[derive(Debug)]
pub struct Target {
    /// Pixels.
    pub size: [u32; 2],
    /// Premultiplied colour and alpha, half floats.
    pub picture: wgpu::Texture,
    /// Depth weighted by alpha: one float for volumes, the first of four half floats for Gaussians.
    pub depth: wgpu::Texture,
}

/// The format of [`Target::picture`].
pub const PICTURE: wgpu::TextureFormat = wgpu::TextureFormat::Rgba16Float;

impl Target {
    /// Textures of `size` pixels, each at least 1, for what `depth` holds.
    pub fn new(gpu: &Gpu, size: [u32; 2], depth: wgpu::TextureFormat) -> Self {
        let texture = |label, format, usage| {
            gpu.device.create_texture(&wgpu::TextureDescriptor {
                label: Some(label),
                size: wgpu::Extent3d { width: size[0].max(1), height: size[1].max(1), depth_or_array_layers: 1 },
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format,
                usage: usage | wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_SRC,
                view_formats: &[],
            })
        };
        let written = wgpu::TextureUsages::RENDER_ATTACHMENT;
        Self { size, picture: texture("picture", PICTURE, written), depth: texture("depth", depth, written) }
    }

    /// Premultiplied colour, alpha and weighted depth, `[h · w, 5]` from the top left, as a field's own `render` has it.
    ///
    /// # Errors
    /// When the device fails.
    pub fn pixels(&self, gpu: &Gpu) -> Result<Vec<f32>> {
        let picture = halves(&read(gpu, &self.picture, 8)?);
        let depth = read(gpu, &self.depth, if self.depth.format() == wgpu::TextureFormat::R32Float { 4 } else { 8 })?;
        let depth: Vec<f32> = if self.depth.format() == wgpu::TextureFormat::R32Float {
            depth.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
        } else {
            halves(&depth).into_iter().step_by(4).collect()
        };
        let rows = picture.as_chunks::<4>().0.iter().zip(depth);
        Ok(rows.flat_map(|(&[r, g, b, a], d)| [r, g, b, a, d]).collect())
    }
}

/// A texture's bytes, row by row without padding; `texel` bytes each.
///
/// # Errors
/// When the device fails.
pub fn read(gpu: &Gpu, texture: &wgpu::Texture, texel: u32) -> Result<Vec<u8>> {
    let (width, height) = (texture.width(), texture.height());
    let row = (width * texel).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
    let host = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("read back"),
        size: u64::from(row) * u64::from(height),
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(row), rows_per_image: None };
    encoder.copy_texture_to_buffer(
        texture.as_image_copy(),
        wgpu::TexelCopyBufferInfo { buffer: &host, layout },
        texture.size(),
    );
    gpu.queue.submit([encoder.finish()]);
    let bytes = gpu.mapped(&host)?;
    let used = (width * texel) as usize;
    Ok(bytes.chunks_exact(row as usize).flat_map(|line| line[..used].iter().copied()).collect())
}

/// Half floats to floats.
fn halves(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<2>().0.iter().map(|&b| half(u16::from_le_bytes(b))).collect()
}

/// A half float (IEEE 754 binary16) as a float.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2.0_f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2.0_f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_floats_are_read_as_they_are_written() {
        let cases =
            [(0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.333_251_95), (0x0001, 5.960_464_5e-8), (0x7bff, 65504.0)];
        for (bits, value) in cases {
            assert_eq!(half(bits), value, "{bits:#x}");
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan() && half(0x8000) == 0.0);
    }
}
