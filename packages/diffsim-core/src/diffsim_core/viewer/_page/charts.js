// Curves under the picture, in step with it; a press or a drag on them goes to that time.

const MOST_CHARTS = 6, NAME_WIDTH = 128;

class Charts {
  constructor(canvas, motion, seek) {
    this.canvas = canvas;
    this.motion = motion;
    this.curves = motion.curves.slice(0, MOST_CHARTS);
    canvas.style.height = `${Math.max(24, 44 * this.curves.length)}px`;
    this.ranges = this.curves.map(({ values }) => {
      let low = Infinity, high = -Infinity;
      for (const v of values) if (isFinite(v)) { low = Math.min(low, v); high = Math.max(high, v); }
      if (!(low < high)) return [low - 1, low + 1].map((v) => (isFinite(v) ? v : 0));
      return [low, high];
    });
    const go = (event) => {
      const { left, width } = canvas.getBoundingClientRect();
      const part = (event.clientX - left - NAME_WIDTH) / (width - NAME_WIDTH);
      seek(clamp(part, 0, 1) * (motion.frames - 1));
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      go(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons) go(event);
    });
  }

  draw(time, chosen, theme) {
    const { canvas, motion } = this;
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    const x = (frame) => NAME_WIDTH + ((width - NAME_WIDTH - 1) * frame) / Math.max(motion.frames - 1, 1);
    const rowHeight = height / Math.max(this.curves.length, 1);
    this.curves.forEach((curve, row) => {
      const [low, high] = this.ranges[row];
      const y = (v) => rowHeight * (row + 0.9 - (0.8 * (v - low)) / (high - low || 1));
      for (let world = 0; world < motion.worlds; world++)
        if (world !== chosen) this.line(pen, curve, world, x, y, theme.faint, 1);
      this.line(pen, curve, chosen, x, y, theme.accent, 1.5);
      const now = motion.value(curve, Math.floor(time), chosen);
      pen.fillStyle = theme.text;
      pen.fillText(curve.name, 4, rowHeight * (row + 0.32));
      pen.fillText(isFinite(now) ? Number(now.toPrecision(4)).toString() : "–", 4, rowHeight * (row + 0.7));
    });
    pen.fillStyle = theme.faint;
    for (const first of motion.begins[chosen]) if (first) pen.fillRect(x(first), 0, 1, height);
    pen.fillStyle = theme.text;
    pen.fillRect(x(time) - 0.75, 0, 1.5, height);
  }

  line(pen, curve, world, x, y, color, width) {
    pen.strokeStyle = color;
    pen.lineWidth = width;
    pen.beginPath();
    let down = false;
    for (let t = 0; t < this.motion.frames; t++) {
      const v = this.motion.value(curve, t, world);
      if (!isFinite(v) || this.motion.begins[world].has(t)) down = false;
      if (!isFinite(v)) continue;
      if (down) pen.lineTo(x(t), y(v));
      else pen.moveTo(x(t), y(v));
      down = true;
    }
    pen.stroke();
  }
}
