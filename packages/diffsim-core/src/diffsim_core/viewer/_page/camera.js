// An orbit about a point that follows the robot: drag to turn, wheel or pinch to come closer, right drag to move.

class Camera {
  constructor(canvas, distance, changed) {
    this.home = { azimuth: -60, elevation: 15, distance };
    this.changed = changed;
    this.target = [0, 0, 0];
    this.shift = [0, 0, 0];
    this.reset();
    this.pointers = new Map();
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, event);
    });
    for (const name of ["pointerup", "pointercancel"])
      canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(0.0012 * event.deltaY));
    }, { passive: false });
  }

  reset() {
    Object.assign(this, this.home);
    this.shift = [0, 0, 0];
    this.changed();
  }

  drag(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const dx = event.clientX - before.clientX, dy = event.clientY - before.clientY;
    const others = [...this.pointers.values()].filter(({ pointerId }) => pointerId !== event.pointerId);
    this.pointers.set(event.pointerId, event);
    if (others.length) {
      const apart = (e) => Math.hypot(e.clientX - others[0].clientX, e.clientY - others[0].clientY);
      this.zoom(apart(before) / Math.max(apart(event), 1));
    } else if (event.buttons === 2 || event.shiftKey) {
      const metre = (0.0012 * this.distance);
      const { right, up } = this.axes();
      this.shift = add(this.shift, add(scale(right, -dx * metre), scale(up, dy * metre)));
    } else {
      this.azimuth -= 0.35 * dx;
      this.elevation = clamp(this.elevation + 0.35 * dy, -5, 89);
    }
    this.changed();
  }

  zoom(factor) {
    this.distance = clamp(this.distance * factor, 0.2, 200);
    this.changed();
  }

  // Unit vectors towards the eye, to the right and up.
  axes() {
    const a = (this.azimuth * Math.PI) / 180, e = (this.elevation * Math.PI) / 180;
    const back = [Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)];
    const right = unit(cross([0, 0, 1], back));
    return { back, right, up: cross(back, right) };
  }

  matrices(aspect) {
    const middle = add(this.target, this.shift);
    const eye = add(middle, scale(this.axes().back, this.distance));
    const far = Math.max(150, 3 * this.distance);
    return { eye, middle, view: lookAt(eye, middle), projection: perspective(0.7, aspect, far / 5000, far) };
  }
}
