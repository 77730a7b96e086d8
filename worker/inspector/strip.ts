// The density strip: how much happened when. A click jumps.
import type { Bucket } from "./protocol.js";

const BAR_PX = 3;

export class Strip {
  readonly #canvas: HTMLCanvasElement;
  #buckets: readonly Bucket[] = [];
  #place = -1;

  constructor(canvas: HTMLCanvasElement, onJump: (bucket: number, buckets: number) => void) {
    this.#canvas = canvas;
    const jump = (event: PointerEvent): void => {
      const part = event.offsetX / Math.max(1, canvas.clientWidth);
      const bucket = Math.min(this.count - 1, Math.max(0, Math.floor(part * this.count)));
      onJump(bucket, this.count);
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      jump(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if ((event.buttons & 1) !== 0) jump(event);
    });
  }

  get count(): number {
    return Math.max(1, Math.floor(this.#canvas.clientWidth / BAR_PX));
  }

  show(buckets: readonly Bucket[]): void {
    this.#buckets = buckets;
    this.draw();
  }

  mark(place: number): void {
    this.#place = place;
    this.draw();
  }

  draw(): void {
    const canvas = this.#canvas;
    const scale = devicePixelRatio;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const context = canvas.getContext("2d");
    if (context === null || this.#buckets.length === 0) return;
    context.scale(scale, scale);
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string): string => style.getPropertyValue(name);
    const bar = width / this.#buckets.length;
    const most = Math.max(1, ...this.#buckets.map((bucket) => bucket.inputs + bucket.sends));
    // By square roots, so that little is still seen beside much.
    const tall = (number: number): number =>
      number === 0 ? 0 : Math.max(2, Math.sqrt(number / most) * (height - 8));
    this.#buckets.forEach(({ inputs, sends, errors }, index) => {
      const x = index * bar;
      const all = tall(inputs + sends);
      const ours = inputs + sends === 0 ? 0 : (all * inputs) / (inputs + sends);
      context.fillStyle = colour("--send");
      context.fillRect(x, height - all, bar - 1, all - ours);
      context.fillStyle = colour("--client");
      context.fillRect(x, height - ours, bar - 1, ours);
      if (errors === 0) return;
      context.fillStyle = colour("--error");
      context.fillRect(x, 0, Math.max(2, bar - 1), 4);
    });
    if (this.#place < 0) return;
    context.fillStyle = colour("--accent");
    context.globalAlpha = 0.25;
    context.fillRect(this.#place * bar - 3, 0, bar + 5, height);
    context.globalAlpha = 1;
    context.fillRect(this.#place * bar + bar / 2 - 1, 0, 1.5, height);
  }
}
