"""
What a figure may say: the kinds of traces, and the names of attributes of those and of the layout.

Left out on purpose are what fetches (images, maps and their tiles, topojson, sources), what calls back (menus,
sliders, frames, transitions, configuration), and what only Plotly itself needs.
"""

from __future__ import annotations

_TRACE_TYPES = """
    bar barpolar box candlestick contour funnel heatmap histogram histogram2d histogram2dcontour indicator ohlc
    parcats parcoords pie scatter scatter3d scattergl scatterpolar splom sunburst surface treemap violin
    waterfall
"""

_NAMES = """
    align alignmentgroup ambient anchor angle angleref angularaxis annotations arrangement array arrayminus
    arrowcolor arrowhead arrowside arrowsize arrowwidth aspectmode aspectratio autobinx autobiny autocolorscale
    autocontour autoexpand automargin autorange autorangeoptions autoshift autosize autotickangles
    autotypenumbers ax axis axref ay ayref b backgroundcolor backoff bandwidth barcornerradius bargap
    bargroupgap barmode barnorm base bgcolor bingroup bordercolor borderpad borderwidth bounds box boxgap
    boxgroupgap boxmean boxmode boxpoints branchvalues buttons camera categoryarray categoryorder cauto center
    clipmax clipmin cliponaxis close cmax cmid cmin color coloraxis colorbar coloring colors colorscale colorway
    column columns connectgaps connector constrain constraintext constraintoward constraintrange contours
    copy_ystyle copy_zstyle cornerradius count counts cumulative currentvalue customdata dash decreasing delta
    depthfade diagonal diffuse dimensions direction displayindex diverging dividercolor dividerwidth dlabel
    domain dr dragmode dtheta dtick dtickrange dx dy enabled end entrywidth entrywidthmode error_x error_y
    error_z exponentformat extendpiecolors extendsunburstcolors extendtreemapcolors eye family fgcolor fgopacity
    fill fillcolor fillgradient fillmode fillpattern fillrule fixedrange flip font fresnel funnelgap
    funnelgroupgap funnelmode gauge gradient grid gridcolor griddash gridshape gridwidth groupclick
    groupdoubleclick groupnorm grouptitlefont height hidesurface high highlight highlightcolor highlightwidth
    histfunc histnorm hole hoveranywhere hoverdistance hoverformat hoverinfo hoverlabel hovermode hoveron
    hoverongaps hoversort hoversubplots hovertemplate hovertemplatefallback hovertext ids include
    increasing indentation insiderange insidetextanchor insidetextfont insidetextorientation itemclick
    itemdoubleclick itemsizing itemwidth jitter l label label0 labelangle labelfont labelformat labels labelside
    layer leaf legend legendgroup legendgrouptitle legendrank legendwidth len lenmode level lighting
    lightposition line linecolor lineposition linewidth low lowerfence margin marker matches maxallowed maxdepth
    maxdisplayed maxheight mean meanline measure median minallowed minexponent minor minorloglabels minorticklen
    minreducedheight minreducedwidth minsize mirror mode multiselect name namelength nbinsx nbinsy ncontours
    notched notchspan notchwidth nticks number offset offsetgroup opacity opacityscale open operation
    orientation outliercolor outlierwidth outlinecolor outlinewidth outsidetextfont overlaying packing pad
    padding paper_bgcolor parents path pathbar pattern period piecolorway plot_bgcolor pointpos points polar
    position prefix project projection pull q1 q3 quartilemethod r r0 radialaxis range rangebreaks rangefont
    rangemode rangeselector rangeslider reference relative reversescale root rotation roughness row roworder
    rows scale scaleanchor scalegroup scalemode scaleratio scattergap scattermode scene sd sdmultiple sector
    selected selectedpoints separatethousands separators sequential sequentialminus shadow shape shapes shift
    show showarrow showaxeslabels showbackground showdividers showexponent showgrid showlabels showlegend
    showline showlines showlowerhalf showscale showspikes showticklabels showtickprefix showticksuffix
    showupperhalf showwhiskers side simplify size sizemin sizemode sizeref smoothing solidity sort sortpaths
    span spanmode specular spikecolor spikedash spikedistance spikemode spikesides spikesnap spikethickness
    split squarifyratio stackgaps stackgroup standoff start startarrowhead startarrowsize startstandoff step
    stepmode steps stop style subplot subplots subtitle suffix sunburstcolorway surfaceaxis surfacecolor symbol
    symmetric t text textangle textcase textfont textinfo textposition texttemplate texttemplatefallback theta
    theta0 thetaunit thickness thicknessmode threshold tick0 tickangle tickcolor tickfont tickformat
    tickformatstops ticklabelindex ticklabelmode ticklabeloverflow ticklabelposition ticklabelshift
    ticklabelstandoff ticklabelstep ticklen tickmode tickprefix ticks tickson ticksuffix ticktext tickvals
    tickwidth tiling title titleclick titledoubleclick totals tracegroupgap traceorder traceref tracerefminus
    transpose treemapcolorway type unifiedhovertitle uniformtext unselected up upperfence usecolormap valign
    value valueformat valueminus values variant violingap violingroupgap violinmode visible waterfallgap
    waterfallgroupgap waterfallmode weight whiskerwidth width x x0 x0shift x1 x1shift xanchor xaxes xaxis
    xbingroup xbins xclick xgap xhoverformat xpad xperiod xperiod0 xperiodalignment xref xshift xside xsizemode
    xtype y y0 y0shift y1 y1shift yanchor yaxes yaxis ybingroup ybins yclick ygap yhoverformat ypad yperiod
    yperiod0 yperiodalignment yref yshift yside ysizemode ytype z zauto zaxis zeroline zerolinecolor
    zerolinelayer zerolinewidth zhoverformat zmax zmid zmin zorder zsmooth
"""

TRACE_TYPES = frozenset(_TRACE_TYPES.split())
NAMES = frozenset(_NAMES.split())
