/** Tables of contents of Markdown pages, with the anchors that GitHub gives to headings. */

/** The anchor of a heading: lower case, spaces as hyphens, without punctuation. */
export function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
    .replaceAll(" ", "-");
}

/** A page without the text of its code blocks, in which a `#` starts a comment. */
export const withoutCode = (markdown: string): string => markdown.replaceAll(/^```.*?^```$/gms, "");

/** One list entry for each second-level heading. */
export function contentsOf(markdown: string): string {
  const headings = [...withoutCode(markdown).matchAll(/^## (.+)$/gm)].map(([, title]) => title!);
  return headings.map((title) => `- [${title}](#${anchorOf(title)})`).join("\n");
}

/** The page with its table of contents between the introduction and the first section. */
export function withContents(markdown: string): string {
  const start = markdown.indexOf("\n## ");
  if (start === -1) throw new Error("the page has no sections");
  return `${markdown.slice(0, start)}\n${contentsOf(markdown)}\n${markdown.slice(start)}`;
}
