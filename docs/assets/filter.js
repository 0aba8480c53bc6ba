// Hide the entries of a page that do not contain all words of its filter box.
document$.subscribe(() => {
  const box = document.querySelector("input.filter")
  if (!box) return
  const entries = [...document.querySelectorAll(`.md-content ${box.dataset.filter}`)]
  const update = () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean)
    for (const entry of entries) {
      const text = entry.textContent.toLowerCase()
      entry.hidden = !words.every(word => text.includes(word))
    }
    for (const heading of document.querySelectorAll(".md-content h2")) {
      const own = []
      for (let next = heading.nextElementSibling; next && next.tagName !== "H2"; next = next.nextElementSibling)
        own.push(next, ...next.querySelectorAll("*"))
      const listed = entries.filter(entry => own.includes(entry))
      const isEmpty = listed.length > 0 && listed.every(entry => entry.hidden)
      for (const element of [heading, ...own.filter(each => each.tagName === "TABLE")]) element.hidden = isEmpty
    }
  }
  box.addEventListener("input", update)
  update()
})
