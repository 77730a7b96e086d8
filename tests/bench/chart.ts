// A bar chart as SVG, for pages that are light or dark. Text stays text.

export interface Panel {
  title: string;
  bars: { label: string; value: number; isOurs: boolean }[];
}

const width = 480;
const margin = 16;
const line = 24;
const labelWidth = 148;
const barHeight = 14;
const barWidth = width - 2 * margin - labelWidth - 56; // the value follows the longest bar

/** `description` is for those who cannot see the bars; it need not repeat the figures. */
export function chart(title: string, description: string, panels: readonly Panel[]): string {
  const parts: string[] = [];
  let y = margin + 12;
  for (const panel of panels) {
    const most = Math.max(...panel.bars.map((bar) => bar.value));
    parts.push(text(margin, y, "title", panel.title));
    for (const { label, value, isOurs } of panel.bars) {
      y += line;
      const length = Math.max(1, (barWidth * value) / most);
      const bar = { x: margin + labelWidth, y: y - barHeight + 2, width: round(length) };
      parts.push(
        text(margin, y, "label", label),
        `<rect class="${isOurs ? "ours" : "other"}" ${attributes(bar)} height="${barHeight}" rx="2"/>`,
        text(round(bar.x + length + 6), y, "value", plain(value)),
      );
    }
    y += line + 16;
  }
  const height = y - line + margin - 8;
  return [
    '<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="title desc"',
    `  viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">`,
    `<title id="title">${escaped(title)}</title>`,
    '<desc id="desc">',
    escaped(description),
    "</desc>",
    style,
    `<rect class="page" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8"/>`,
    ...parts,
    "</svg>\n",
  ].join("\n");
}

/** Its own background, since the page's may not follow the system's color scheme. */
const style = `<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.value { font-variant-numeric: tabular-nums }
.page { fill: #ffffff; stroke: #d1d9e0 }
.ours { fill: #0b66d8 }
.other { fill: #8c959f }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .page { fill: #0d1117; stroke: #3d444d }
  .ours { fill: #4c9aff }
  .other { fill: #7d8590 }
}
</style>`;

const text = (x: number, y: number, kind: string, content: string) =>
  `<text class="${kind}" ${attributes({ x, y })}>${escaped(content)}</text>`;

const attributes = (values: Record<string, number>) =>
  Object.entries(values)
    .map(([name, value]) => `${name}="${value}"`)
    .join(" ");

const round = (value: number) => Math.round(value * 10) / 10;

const plain = (value: number) => value.toFixed(value >= 100 ? 0 : 1);

const escaped = (content: string) =>
  content.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
