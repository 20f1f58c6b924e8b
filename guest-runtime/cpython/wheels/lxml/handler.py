"""XML and HTML: XPath, XSLT, a schema, and the errors of what is not well-formed."""

from lxml import etree, html

STYLE = etree.XSLT(
    etree.XML(
        """<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
<xsl:output omit-xml-declaration="yes"/>
<xsl:template match="/"><names><xsl:for-each select="//book"><xsl:sort select="@year"/><n><xsl:value-of select="."/></n>
</xsl:for-each></names></xsl:template></xsl:stylesheet>"""
    )
)
SCHEMA = etree.RelaxNG(
    etree.XML(
        '<element name="books" xmlns="http://relaxng.org/ns/structure/1.0"><zeroOrMore><element name="book">'
        '<attribute name="year"/><text/></element></zeroOrMore></element>'
    )
)


def handler(event, context):
    tree = etree.fromstring(event["xml"])
    page = html.fromstring(event["html"])
    try:
        etree.fromstring("<a><b></a>")
    except etree.XMLSyntaxError as error:
        message = str(error)
    return {
        "years": tree.xpath("//book[@year > 2000]/@year"),
        "sorted": [element.text for element in STYLE(tree).getroot()],
        "valid": [SCHEMA.validate(tree), SCHEMA.validate(etree.XML("<books><x/></books>"))],
        "links": [link for _, _, link, _ in page.iterlinks()],
        "text": page.text_content().strip(),
        "error": message.split(",")[0],
        "written": etree.tostring(tree[0], encoding="unicode").strip(),
    }
