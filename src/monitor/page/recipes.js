// The recipes of a stage's net, side by side, with what differs between runs.

export class Recipes {
  constructor(section) {
    this.section = section;
    this.table = section.querySelector("#recipe-table");
    this.only = section.querySelector("#differences");
    this.only.addEventListener("change", () => this.render());
    this.asked = "";
  }

  /** Loads the recipes, if others are wanted than those that are shown, or some may have come. */
  async take(stage, runs) {
    const shown = runs.shown();
    const asked = JSON.stringify([stage, shown.map((run) => [run.id, run.stages.length, run.name])]);
    if (asked === this.asked || !stage) return;
    this.asked = asked;
    const query = new URLSearchParams({ stage, runs: shown.map((run) => run.id).join(",") });
    try {
      const answer = await (await fetch(`/api/recipes?${query}`)).json();
      const names = new Map(shown.map((run) => [run.id, run.name]));
      this.recipes = answer.filter(([id, recipe]) => recipe && names.has(id)).map(([id, recipe]) => ({ name: names.get(id), keys: new Map(recipe.keys) }));
      this.render();
    } catch {
      this.asked = "";
    }
  }

  render() {
    const recipes = this.recipes ?? [];
    this.section.hidden = recipes.length === 0;
    this.section.querySelector("#differences-label").hidden = recipes.length < 2;
    const cell = (tag, text, properties) => Object.assign(document.createElement(tag), { textContent: text, ...properties });
    const keys = [...new Set(recipes.flatMap((recipe) => [...recipe.keys.keys()]))];
    const differs = (key) => new Set(recipes.map((recipe) => recipe.keys.get(key))).size > 1;
    const listed = recipes.length > 1 && this.only.checked ? keys.filter(differs) : keys;
    if (listed.length === 0) {
      this.table.replaceChildren(cell("p", "The recipes of these runs do not differ."));
      return;
    }
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    head.append(cell("th", "Key", { scope: "col" }), ...recipes.map((recipe) => cell("th", recipe.name, { scope: "col" })));
    const body = table.createTBody();
    for (const key of listed) {
      const row = body.insertRow();
      if (recipes.length > 1 && differs(key)) row.className = "differs";
      row.append(cell("th", key, { scope: "row" }), ...recipes.map((recipe) => cell("td", recipe.keys.get(key) ?? "–")));
    }
    this.table.replaceChildren(table);
  }
}
