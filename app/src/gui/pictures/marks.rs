//! What is selected, shown in the picture: every pixel knows how far away what it shows is, so that a selection is seen on
//! all kinds of field alike, whoever drew them.

use glam::{Vec2, Vec3};
use rayon::prelude::*;
use retort_fields::compose::region::Region;
use retort_fields::data::Similarity;
use retort_shaders::Camera;

/// The colour of what is selected.
const COLOUR: [f32; 3] = [0.1, 0.55, 1.0];
/// Its share in stripes and between them: stripes are seen on any colour.
const SHARES: [f32; 2] = [0.7, 0.4];
/// The width of a stripe, pixels along a row.
const STRIPE: usize = 5;

/// A selected part of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Marked {
    /// In the object's own scene units.
    pub region: Region,
    /// From those to the picture's.
    pub scene_from_object: Similarity,
}

/// The point that `pixel` of a picture shows, `depth` away: along the ray, or along the view axis.
pub fn seen(camera: &Camera, pixel: Vec2, depth: f32, along_axis: bool) -> Option<Vec3> {
    let ray = camera.ray(pixel);
    let along = if along_axis { depth / ray.direction.dot(camera.forward()).max(1e-3) } else { depth };
    along.is_finite().then(|| ray.at(along))
}

impl Marked {
    /// Colours what is selected of a picture `rgba` `[h * w * 4]` with distances `depth` `[h * w]`.
    pub fn paint(&self, rgba: &mut [u8], depth: &[f32], camera: &Camera, along_axis: bool) {
        let width = camera.width as usize;
        rgba.par_chunks_mut(4 * width).zip(depth.par_chunks(width)).enumerate().for_each(|(y, (row, depths))| {
            for (x, (pixel, depth)) in row.chunks_exact_mut(4).zip(depths).enumerate() {
                let at = Vec2::new(x as f32 + 0.5, y as f32 + 0.5);
                let point = seen(camera, at, *depth, along_axis);
                if point.is_some_and(|x| self.region.contains(self.scene_from_object.inverse_point(x))) {
                    let share = SHARES[(x + y) / STRIPE % 2];
                    for (value, colour) in pixel.iter_mut().zip(COLOUR) {
                        *value = (f32::from(*value) * (1.0 - share) + 255.0 * share * colour).round() as u8;
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use retort_fields::compose::region::{Shape, Sphere};

    use super::*;

    #[test]
    fn pixels_of_the_selected_part_are_coloured_and_no_others() {
        let camera = Camera::look_at(Vec3::new(0.0, 0.0, 3.0), Vec3::ZERO, Vec3::Y, 0.7, 40, 30);
        // A wall through the origin, and a ball in it that the object has at half the size.
        let depth: Vec<f32> = (0..1200)
            .map(|i| 3.0 / -camera.ray(Vec2::new((i % 40) as f32 + 0.5, (i / 40) as f32 + 0.5)).direction.z)
            .collect();
        let region = Region::from(Shape::Sphere(Sphere { centre: [0.2, 0.0, 0.0], radius: 0.15 }));
        let place = Similarity { scale: 2.0, ..Similarity::default() };
        let mut rgba = vec![100; 4800];
        Marked { region, scene_from_object: place }.paint(&mut rgba, &depth, &camera, false);
        for (i, pixel) in rgba.chunks_exact(4).enumerate() {
            let at = Vec2::new((i % 40) as f32 + 0.5, (i / 40) as f32 + 0.5);
            let inside = seen(&camera, at, depth[i], false).unwrap().distance(Vec3::new(0.4, 0.0, 0.0)) <= 0.3;
            assert_eq!(pixel[0] != 100, inside, "{at}");
        }
        assert!(rgba.chunks_exact(4).filter(|p| p[0] != 100).count() > 20);
        assert_eq!(seen(&camera, Vec2::ZERO, f32::INFINITY, false), None);
    }
}
