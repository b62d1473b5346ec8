// The curves of a run, as the coordinator sends them: a bounded number of points, each the mean of stride steps.

export class Series {
  constructor() { this.stride = 0; this.steps = []; this.columns = {}; }

  // take puts an update in the place of the points above its step after.
  take({ after, series }) {
    let keep = this.steps.length;
    while (keep > 0 && this.steps[keep - 1] > after) keep--;
    const columns = {};
    for (const name of new Set([...Object.keys(this.columns), ...Object.keys(series.columns)])) {
      const before = this.columns[name] ? this.columns[name].slice(0, keep) : new Array(keep).fill(null);
      columns[name] = before.concat(series.columns[name] ?? new Array(series.steps.length).fill(null));
    }
    this.stride = series.stride;
    this.steps = this.steps.slice(0, keep).concat(series.steps);
    this.columns = columns;
  }

  column(name) { return this.columns[name] ?? new Array(this.steps.length).fill(null); }

  // has says whether a value was ever reported and is not always 0.
  has(name) { return (this.columns[name] ?? []).some((v) => v); }

  last(name) {
    const column = this.columns[name] ?? [];
    for (let i = column.length - 1; i >= 0; i--) if (column[i] !== null) return column[i];
    return null;
  }

  rate() {
    const images = this.column("images");
    return this.column("seconds").map((s, i) => (s > 0 && images[i] !== null ? images[i] / s : null));
  }
}
