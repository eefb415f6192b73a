// The pictures that training wrote of the stage under way, run by run, with a slider over the steps.

import * as scale from "./scale.js";

export class Pictures {
  constructor(section) {
    this.section = section;
    this.list = section.querySelector("#picture-list");
    this.asked = "";
    /** Steps that were chosen, by run; without one the latest pictures are shown. */
    this.chosen = new Map();
  }

  async take(stage, runs) {
    const count = (run) => run.stages.find((s) => s.name === stage)?.pictures ?? 0;
    const shown = runs.shown().filter((run) => count(run) > 0);
    this.section.hidden = shown.length === 0;
    const asked = JSON.stringify([stage, shown.map((run) => [run.id, count(run)])]);
    if (asked === this.asked || shown.length === 0) return;
    this.asked = asked;
    const query = new URLSearchParams({ stage, runs: shown.map((run) => run.id).join(",") });
    try {
      const answer = new Map(await (await fetch(`/api/pictures?${query}`)).json());
      this.list.replaceChildren(...shown.map((run) => this.article(run, runs.colour(run), answer.get(run.id) ?? [])));
    } catch {
      this.asked = "";
    }
  }

  article(run, colour, series) {
    const make = (tag, properties, ...children) => {
      const element = Object.assign(document.createElement(tag), properties);
      element.append(...children);
      return element;
    };
    const text = make("output");
    const shown = make("div", { className: "shown" });
    const slider = make("input", { type: "range", min: 0, max: Math.max(0, series.length - 1), step: 1 });
    const place = series.findIndex(([step]) => step === this.chosen.get(run.id));
    slider.value = place < 0 ? series.length - 1 : place;
    slider.setAttribute("aria-label", `${run.name}: pictures at step`);
    const show = () => {
      const [step, pictures] = series[slider.value] ?? [0, []];
      text.textContent = `after ${scale.whole(step)} steps`;
      slider.setAttribute("aria-valuetext", text.textContent);
      shown.replaceChildren(...pictures.map(({ file, shows }) => {
        const source = `/api/picture?${new URLSearchParams({ run: run.id, file })}`;
        return make("figure", {}, make("img", { src: source, alt: `${run.name}, ${text.textContent}: ${shows}` }), make("figcaption", { textContent: shows }));
      }));
    };
    slider.addEventListener("input", () => {
      // At its end the slider follows what comes.
      if (Number(slider.value) === series.length - 1) this.chosen.delete(run.id);
      else this.chosen.set(run.id, series[slider.value][0]);
      show();
    });
    show();
    const article = make("article", {}, make("h3", { textContent: run.name }), make("div", { className: "at" }, slider, text), shown);
    article.style.setProperty("--colour", `var(--run-${colour})`);
    return article;
  }
}
